"""A report as HTML and as JSON; the third form is ``pdf``."""

import json
from functools import cache
from typing import Literal, assert_never

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from jobs_core.reports import charts
from jobs_core.reports.model import Report, shown

Form = Literal["pdf", "html", "json"]


def render_report(report: Report, form: Form) -> bytes:
    """Return the report as a file's content. Blocking: a PDF takes a while."""
    match form:
        case "pdf":
            from jobs_core.reports.pdf import render_pdf  # its library is slow to import

            return render_pdf(report)
        case "html":
            return render_html(report).encode()
        case "json":
            return json.dumps(report.to_json(), ensure_ascii=False, indent=2).encode()
    assert_never(form)


def render_html(report: Report) -> str:
    """Return one page that loads nothing else."""
    template = _environment().get_template("report.html")
    return template.render(report=report).strip() + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("jobs_core.reports", "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "tones": charts.TONES,
        "ceiling": charts.ceiling,
        "moment": charts.moment,
        "short": charts.short,
        "ticks": charts.ticks,
        "shown": shown,
    }
    return environment
