"""Find out why jobs do not go on. QStash knows why a message has not arrived, as the database only has the deliveries
that reached the worker; an attempt whose lease ran out has lost its worker.
"""

from collections.abc import Sequence

from jobs_core.engine.app_context import AppContext
from jobs_core.model.delivery import expired_lease, read_trouble
from jobs_core.model.errors import PublishError
from jobs_core.model.records import JobRecord
from jobs_core.model.states import JobStatus

# As many message ids as fit into the query of one request.
_MOST_ASKED = 50


async def find_troubles(context: AppContext, records: Sequence[JobRecord]) -> dict[str, str]:
    """Return, by job id, one sentence that says why a job is still pending, was given up without ever arriving, or has
    an attempt that its worker does not end.

    Makes one request, for the first fifty that have not arrived. If QStash cannot be reached, the sentence says that.
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
    now = context.clock.now()
    troubles |= {
        record.job_id: lease for record in records if (lease := expired_lease(record, now)) is not None
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
    """Return whether no delivery of the job has reached the worker."""
    return record.status is JobStatus.PENDING or (
        record.attempt_count == 0 and record.status is JobStatus.FAILED
    )
