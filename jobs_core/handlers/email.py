"""``send-email``: a transactional e-mail from a template."""

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from jobs_core.emails.addresses import Address
from jobs_core.emails.catalog import Brand, find_template, parse_data, render
from jobs_core.emails.deliveries import record_sent
from jobs_core.emails.message import Attachment, PermanentEmailError, TemporaryEmailError
from jobs_core.emails.senders import EmailSender
from jobs_core.engine.app_context import AppContext
from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType, Payload, job
from jobs_core.model.errors import JobValidationError, PermanentJobError, RetryLater
from jobs_core.storage.files import FileStorage, StoredFileNotFoundError, content_type


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class StoredAttachment(Payload):
    """An attachment: a file of the storage."""

    file: str = Field(min_length=1, max_length=500)
    filename: str = Field(min_length=1, max_length=200, pattern=r'^[^/\\\x00-\x1f"]+$')


class SendEmail(Payload):
    """Which template, to whom, with which data. ``to`` is one address or a list."""

    template: Annotated[str, AfterValidator(lambda name: find_template(name).name)]
    to: Annotated[list[Address], BeforeValidator(_as_list), Field(min_length=1, max_length=50)]
    data: dict[str, Any]
    attachments: list[StoredAttachment] = Field(default_factory=list, max_length=10)

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
    """Render the template and send it; the job's id keeps a retry from sending it twice."""
    template = find_template(payload.template)
    context = job.use(AppContext)
    email = render(
        template,
        parse_data(template, payload.data),
        to=tuple(payload.to),
        brand=Brand(context.settings.brand_name),
        attachments=await _attached(payload, job),
    )
    try:
        provider_id = await job.use(EmailSender).send(email, idempotency_key=job.id)
    except PermanentEmailError as error:
        raise PermanentJobError(str(error), "email_refused", job.id) from error
    except TemporaryEmailError as error:
        if error.retry_after is not None:
            raise RetryLater(error.retry_after, str(error)) from error
        raise
    now = context.clock.now()
    job.on_completion(
        lambda connection: record_sent(
            connection, provider_id, job_id=job.id, template=template.name, recipients=payload.to, now=now
        )
    )
    return {"providerId": provider_id, "template": template.name, "recipients": len(payload.to)}


async def _attached(payload: SendEmail, job: Job) -> tuple[Attachment, ...]:
    if not payload.attachments:
        return ()
    storage = job.use(FileStorage)
    try:
        contents = [await storage.read(each.file) for each in payload.attachments]
    except (StoredFileNotFoundError, ValueError) as error:
        raise PermanentJobError(
            f"an attachment cannot be read: {error}", "attachment_missing", job.id
        ) from error
    return tuple(
        Attachment(each.filename, content_type(each.filename), content)
        for each, content in zip(payload.attachments, contents, strict=True)
    )
