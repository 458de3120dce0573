"""``generate-report``: figures over a period, as a file, mailed to the recipients."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from jobs_core.emails.addresses import Address
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType, Payload, job
from jobs_core.engine.requests import JobRequest
from jobs_core.model.states import JobStatus
from jobs_core.reports import kinds
from jobs_core.reports.html_json import Form, render_report
from jobs_core.reports.model import Period, Report
from jobs_core.storage.files import FileStorage, StoredFile
from jobs_core.storage.links import FileLinks, Link

_LONGEST_PERIOD = timedelta(days=3660)
# Many mail servers refuse more than 25 MB, and base64 makes a third more of it.
_LARGEST_ATTACHMENT = 10 * 1024 * 1024
_FIGURES_MAILED = 6


def _no_time(value: object) -> object:
    """Refuse a naive instant at midnight: it is no date, and lacks its zone."""
    if isinstance(value, str) and len(value) != len("2026-05-01"):
        raise ValueError("must be a date such as 2026-05-01, or an instant with a zone")
    return value


Day = Annotated[date, BeforeValidator(_no_time)]


class DateRange(Payload):
    """Dates (the last one included) or instants with a zone (the last one excluded)."""

    from_: AwareDatetime | Day = Field(alias="from")
    to: AwareDatetime | Day

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        try:
            period = self.period()
        except OverflowError:
            raise ValueError("the range must lie between the years 2 and 9998") from None
        if not timedelta(0) < period.end - period.start <= _LONGEST_PERIOD:
            raise ValueError(f"the range must go forwards, and at most {_LONGEST_PERIOD.days} days")
        return self

    def period(self) -> Period:
        """Return the period in UTC, its end exclusive."""
        return Period(_instant(self.from_, days=0), _instant(self.to, days=1))


class CustomReport(Payload):
    """The jobs that a custom report counts; empty lists mean all."""

    group_by: kinds.GroupBy = "jobType"
    job_types: list[str] = Field(default_factory=list, max_length=100)
    statuses: list[JobStatus] = Field(default_factory=list)


class GenerateReport(Payload):
    """Which report, over which period, in which format, for whom."""

    report_type: Literal["analytics", "usage", "billing", "custom"]
    date_range: DateRange
    recipients: list[Address] = Field(default_factory=list, max_length=50)
    format: Form = "pdf"
    title: str | None = Field(None, min_length=1, max_length=200)
    custom: CustomReport | None = None

    @model_validator(mode="after")
    def _custom_is_described(self) -> Self:
        if self.custom is not None and self.report_type != "custom":
            raise ValueError("custom describes a report of type custom, not of another")
        return self


@job(
    JobType.GENERATE_REPORT,
    endpoint="/api/jobs/report",
    retries=2,
    timeout=timedelta(seconds=180),
    description="Make a report and mail it.",
)
async def generate_report(payload: GenerateReport, job: Job) -> dict[str, Any]:
    """Make the report, store it, and enqueue an e-mail to each recipient."""
    dispatcher = job.use(JobDispatcher)
    request = _request(payload, dispatcher)
    report = await dispatcher.database.read(lambda connection: kinds.build(connection, request))
    await job.progress(0.4, "figures")
    file = await _store(report, payload.format, job, now=request.now)
    link = job.use(FileLinks).make(file.name, now=request.now)
    mails = [_mail(report, file, link, address, job) for address in dict.fromkeys(payload.recipients)]
    await job.progress(0.9, "stored")
    job_ids = await dispatcher.enqueue_many(mails)
    return {
        "path": file.name,
        "bytes": file.size,
        "downloadUrl": link.url,
        "expiresAt": link.expires_at,
        "mailed": list(job_ids),
    }


def _request(payload: GenerateReport, dispatcher: JobDispatcher) -> kinds.Request:
    custom = payload.custom or CustomReport()
    return kinds.Request(
        kind=payload.report_type,
        period=payload.date_range.period(),
        title=payload.title,
        brand=dispatcher.settings.brand_name,
        now=dispatcher.clock.now(),
        custom=kinds.CustomQuery(custom.group_by, tuple(custom.job_types), tuple(custom.statuses)),
    )


async def _store(report: Report, form: Form, job: Job, *, now: datetime) -> StoredFile:
    storage = job.use(FileStorage)
    path = await asyncio.to_thread(storage.temporary_path, f".{form}")
    try:
        await asyncio.to_thread(lambda: path.write_bytes(render_report(report, form)))
        return await storage.save(f"reports/{now:%Y-%m}/{report.kind}-{job.id}.{form}", path, now=now)
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _mail(report: Report, file: StoredFile, link: Link, address: str, job: Job) -> JobRequest:
    """Return one e-mail for one recipient, so that recipients do not see each other, and one's error stops no
    other.
    """
    is_attached = file.size <= _LARGEST_ATTACHMENT
    filename = f"{report.kind}-{report.period.start:%Y-%m-%d}.{file.name.rpartition('.')[2]}"
    data = {
        "recipientName": address.partition("@")[0][:200],
        "reportTitle": report.title,
        "period": str(report.period),
        "factsShown": [
            (figure.label[:100], figure.shown[:100]) for figure in report.figures[:_FIGURES_MAILED]
        ],
        "isAttached": is_attached,
        "downloadUrl": link.url,
        "availableUntil": f"{link.expires_at:%Y-%m-%d %H:%M} UTC",
    }
    return JobRequest(
        JobType.SEND_EMAIL,
        {
            "template": "reportReady",
            "to": address,
            "data": data,
            "attachments": [{"file": file.name, "filename": filename}] if is_attached else [],
        },
        user_id=job.metadata.user_id,
        organization_id=job.metadata.organization_id,
        idempotency_key=f"{job.id}:{address}"[:250],
    )


def _instant(value: datetime | date, *, days: int) -> datetime:
    """Return an instant as it is; of a date, its midnight ``days`` later."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.combine(value, time(), UTC) + timedelta(days=days)
