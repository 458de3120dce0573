"""Why jobs have not arrived: QStash is asked, since the records know only what came to the worker."""

from collections.abc import Sequence

from jobs_core.engine.app_context import AppContext
from jobs_core.model.delivery import read_trouble
from jobs_core.model.errors import PublishError
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus

# So many messages fit into the query of one request.
_MOST_ASKED = 50


async def find_troubles(context: AppContext, records: Sequence[JobRecord]) -> dict[str, str]:
    """By job id, why a job is still pending, or was given up without having arrived; in one sentence each.

    One request for the first fifty such jobs. When QStash cannot be asked, that is what each of them says.
    """
    asked = {
        record.message_id: record.job_id
        for record in records
        if record.message_id is not None and _has_not_arrived(record)
    }
    message_ids = list(asked)[:_MOST_ASKED]
    troubles = {
        record.job_id: "not published yet: it waits in the outbox until QStash can be reached"
        for record in records
        if record.message_id is None and record.status is JobStatus.PENDING
    }
    if not message_ids:
        return troubles
    try:
        logs = await context.client.message_logs(message_ids)
    except PublishError as error:
        return troubles | {asked[message_id]: error.message for message_id in message_ids}
    for message_id in message_ids:
        trouble = read_trouble(logs.get(message_id, ()))
        if trouble is not None:
            troubles[asked[message_id]] = trouble.sentence
    return troubles


def _has_not_arrived(record: JobRecord) -> bool:
    """Pending jobs wait for a delivery; jobs without an attempt never had one."""
    return record.status is JobStatus.PENDING or (
        record.attempt_count == 0 and record.status is JobStatus.FAILED
    )
