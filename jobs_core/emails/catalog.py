"""The templates: a typed model, a subject, and an HTML and a plain-text part for each.

A new one is a model here, an entry in ``TEMPLATES`` and two files beside the others, ``<name>.html`` and
``<name>.txt``. Names and data are camelCase on the wire.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import BaseModel, Field, ValidationError

from jobs_core.emails.message import Email
from jobs_core.errors import JobValidationError
from jobs_core.registry import Payload


class TemplateData(Payload):
    """What every template is told."""

    recipient_name: str = Field(min_length=1, max_length=200)


class Welcome(TemplateData):
    """After signing up."""

    dashboard_url: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of e-mail. ``subject`` may name fields of the model: ``"Welcome, {recipient_name}"``."""

    name: str  # as jobs name it
    file: str  # of its parts, without .html and .txt
    subject: str
    model: type[TemplateData]


TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (Template("welcome", "welcome", "Welcome, {recipient_name}!", Welcome),)
}


def find_template(name: str) -> Template:
    """The template of that name. Raises ValueError naming those there are."""
    try:
        return TEMPLATES[name]
    except KeyError:
        raise ValueError(f"unknown template {name!r}; known: {', '.join(sorted(TEMPLATES))}") from None


def parse_data(template: Template, data: BaseModel | dict[str, Any]) -> TemplateData:
    """Template data as its model. Raises JobValidationError."""
    try:
        return template.model.model_validate(data)
    except ValidationError as error:
        raise JobValidationError.from_pydantic(f"the data of template {template.name!r}", error) from None


def render(template: Template, data: TemplateData, *, to: tuple[str, ...]) -> Email:
    """The e-mail for ``to``."""
    values = data.model_dump()
    # A line break in a name must not become a header of its own.
    subject = " ".join(template.subject.format_map(values).split())
    values["subject"] = subject
    return Email(
        to=to,
        subject=subject,
        html=_environment().get_template(f"{template.file}.html").render(values),
        text=_environment().get_template(f"{template.file}.txt").render(values),
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("jobs_core.emails", "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
