"""``send-email``: a transactional e-mail from a template."""

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from jobs_core.emails.catalog import find_template, parse_data, render
from jobs_core.emails.message import PermanentEmailError, TemporaryEmailError
from jobs_core.emails.senders import EmailSender
from jobs_core.errors import JobValidationError, PermanentJobError, RetryLater
from jobs_core.job import Job
from jobs_core.registry import JobType, Payload, job


def _an_address(value: str) -> str:
    """Just enough to notice what cannot be one; the mail server has the last word."""
    name, at, domain = value.strip().rpartition("@")
    if not (name and at and domain) or any(character.isspace() or character in ",;<>" for character in value):
        raise ValueError("must be an e-mail address, such as ada@example.com")
    return value.strip()


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(_an_address)]


class SendEmail(Payload):
    """Which template, to whom, with what. ``to`` is one address or a list."""

    template: Annotated[str, AfterValidator(lambda name: find_template(name).name)]
    to: Annotated[list[Address], BeforeValidator(_as_list), Field(min_length=1, max_length=50)]
    data: dict[str, Any]

    @model_validator(mode="after")
    def _data_fits_template(self) -> Self:
        try:
            parse_data(find_template(self.template), self.data)
        except JobValidationError as error:
            raise ValueError(error.message) from None
        return self


@job(
    JobType.SEND_EMAIL,
    endpoint="/api/jobs/email",
    retries=3,
    timeout=timedelta(seconds=30),
    description="Send a transactional e-mail.",
)
async def send_email(payload: SendEmail, job: Job) -> dict[str, Any]:
    """Render the template and hand it to the sender; the job's id keeps a retry from sending it twice."""
    template = find_template(payload.template)
    email = render(template, parse_data(template, payload.data), to=tuple(payload.to))
    try:
        provider_id = await job.use(EmailSender).send(email, idempotency_key=job.id)
    except PermanentEmailError as error:
        raise PermanentJobError(str(error), "email_refused", job.id) from error
    except TemporaryEmailError as error:
        if error.retry_after is not None:
            raise RetryLater(error.retry_after, str(error)) from error
        raise
    return {"providerId": provider_id, "template": template.name, "recipients": len(payload.to)}
