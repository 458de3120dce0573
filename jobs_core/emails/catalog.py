"""The templates: a typed model, a subject, a preheader, and an HTML and a plain-text part for each.

A new one is a model here, an entry in ``TEMPLATES`` and two files beside the others, ``<file>.html`` and
``<file>.txt``. Names and data are camelCase on the wire.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from pydantic import AfterValidator, BaseModel, Field, HttpUrl, TypeAdapter, ValidationError

from jobs_core.emails.message import Attachment, Email
from jobs_core.engine.registry import Payload
from jobs_core.model.errors import JobValidationError

_URL = TypeAdapter(HttpUrl)
_LONGEST_URL = 2_000

# Goes into style="…" as it is, so its own quotes are single ones.
_FONT = Markup("-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif")


def _a_web_address(value: str) -> str:
    """Return an http or https URL unchanged; others, which might run a script, are refused."""
    _URL.validate_python(value)
    return value


Name = Annotated[str, Field(min_length=1, max_length=200)]
WebAddress = Annotated[str, Field(max_length=_LONGEST_URL), AfterValidator(_a_web_address)]
Shown = Annotated[str, Field(min_length=1, max_length=100)]  # text ready to be read, such as "$12.00 a month"


class TemplateData(Payload):
    """Values that every template gets."""

    recipient_name: Name


class Welcome(TemplateData):
    """Sent after signing up."""

    dashboard_url: WebAddress | None = None


class PasswordReset(TemplateData):
    """Sent to whoever asks to reset a password."""

    reset_url: WebAddress


class PasswordChanged(TemplateData):
    """Sent after a password was changed, so that a stranger's change is noticed."""


class EmailChange(TemplateData):
    """Sent to the new address, which must confirm."""

    new_email: Annotated[str, Field(min_length=3, max_length=320)]
    confirmation_url: WebAddress


class TeamInvitation(TemplateData):
    """Sent to someone who is invited into an organization."""

    inviter_name: Name
    organization_name: Name
    invitation_url: WebAddress


class SubscriptionCreated(TemplateData):
    """Sent when a subscription has been paid for. ``amount`` is formatted."""

    plan_name: Name
    amount: Shown
    dashboard_url: WebAddress


class PaymentFailed(TemplateData):
    """Sent when a payment was refused. ``amount_due`` is formatted."""

    amount_due: Shown
    payment_details_url: WebAddress


class ReportReady(TemplateData):
    """Sent by the job that makes reports, with a link to one."""

    report_title: Name
    period: Shown
    facts_shown: list[tuple[Shown, Shown]] = Field(default_factory=list, max_length=12)
    is_attached: bool
    download_url: WebAddress
    available_until: Shown


@dataclass(frozen=True, slots=True)
class Brand:
    """The sender's name and address in templates. An empty name is left out."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of e-mail. Subject and preheader may name fields of the model: ``"Welcome, {recipient_name}"``."""

    name: str  # as jobs name it
    file: str  # of its parts, without .html and .txt
    subject: str
    preheader: str  # what an inbox shows beside the subject
    model: type[TemplateData]


TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Template("welcome", "welcome", "Welcome, {recipient_name}!", "Your account is ready.", Welcome),
        Template(
            "passwordReset",
            "password_reset",
            "Reset your password",
            "Choose a new one, or ignore this if you did not ask.",
            PasswordReset,
        ),
        Template(
            "passwordChanged",
            "password_changed",
            "Your password was changed",
            "If it was not you, act now.",
            PasswordChanged,
        ),
        Template(
            "emailChange",
            "email_change",
            "Confirm your new address",
            "{new_email} is to be yours.",
            EmailChange,
        ),
        Template(
            "teamInvitation",
            "team_invitation",
            "{inviter_name} invites you to {organization_name}",
            "Accept to work together.",
            TeamInvitation,
        ),
        Template(
            "subscriptionCreated",
            "subscription_created",
            "Your {plan_name} subscription is active",
            "{amount}. Thank you for subscribing.",
            SubscriptionCreated,
        ),
        Template(
            "paymentFailed",
            "payment_failed",
            "Your payment of {amount_due} did not go through",
            "Please update your payment details.",
            PaymentFailed,
        ),
        Template(
            "reportReady", "report_ready", "{report_title}: {period}", "Your report is ready.", ReportReady
        ),
    )
}


def find_template(name: str) -> Template:
    """Return the template of that name. Raise ValueError, naming the existing ones."""
    try:
        return TEMPLATES[name]
    except KeyError:
        raise ValueError(f"unknown template {name!r}; known: {', '.join(sorted(TEMPLATES))}") from None


def template_of(data: TemplateData) -> Template:
    """Return the template that takes this model. Raise ValueError if none does."""
    for template in TEMPLATES.values():
        if template.model is type(data):
            return template
    raise ValueError(f"no template takes a {type(data).__name__}")


def parse_data(template: Template, data: BaseModel | dict[str, Any]) -> TemplateData:
    """Return template data as its model. Raise JobValidationError."""
    try:
        return template.model.model_validate(data)
    except ValidationError as error:
        raise JobValidationError.from_pydantic(f"the data of template {template.name!r}", error) from None


def render(
    template: Template,
    data: TemplateData,
    *,
    to: tuple[str, ...],
    brand: Brand = Brand(),
    attachments: tuple[Attachment, ...] = (),
) -> Email:
    """Return the e-mail for ``to``."""
    values = {name: getattr(data, name) for name in type(data).model_fields}
    subject = _one_line(template.subject.format_map(values))
    values |= {
        "subject": subject,
        "preheader": _one_line(template.preheader.format_map(values)),
        "brand": brand,
        "font": _FONT,
    }
    return Email(
        to=to,
        subject=subject,
        html=_environment().get_template(f"{template.file}.html").render(values),
        text=_environment().get_template(f"{template.file}.txt").render(values).strip() + "\n",
        preheader=str(values["preheader"]),
        attachments=attachments,
    )


def _one_line(text: str) -> str:
    """Return text on one line: a line break in a name must not become a header of its own."""
    return " ".join(text.split())


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("jobs_core.emails", "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
