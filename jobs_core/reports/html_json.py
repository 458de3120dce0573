"""A report as HTML and as JSON; ``pdf`` makes the third form."""

import json
from functools import cache
from typing import Literal, assert_never

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from jobs_core.reports import charts
from jobs_core.reports.model import Report, shown

Form = Literal["pdf", "html", "json"]


def render_report(report: Report, form: Form) -> bytes:
    """The report as a file's content. Blocking: a PDF takes a while."""
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
    """One page that needs nothing from elsewhere."""
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
