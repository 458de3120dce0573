"""``export-data``: a table as a file, with a link to download it."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from sqlalchemy import Connection, Row
from sqlalchemy.sql.elements import ColumnElement

from jobs_core.engine.app_context import AppContext
from jobs_core.engine.job import Job
from jobs_core.engine.registry import JobType, Payload, job
from jobs_core.exports.entities import ExportEntities, ExportEntity, ExportRefusedError
from jobs_core.exports.writers import open_writer
from jobs_core.model.errors import PermanentJobError
from jobs_core.storage.files import FileStorage
from jobs_core.storage.links import FileLinks

# A page is all that is in memory at a time.
PAGE_ROWS = 2_000


class ExportData(Payload):
    """An export: its entity, the kind of file, and the filters of its rows."""

    entity_type: str = Field(min_length=1, max_length=100)
    format: Literal["csv", "xlsx"] = "csv"
    filters: dict[str, Any] = Field(default_factory=dict, max_length=20)


@job(
    JobType.EXPORT_DATA,
    endpoint="/api/jobs/export",
    retries=2,
    timeout=timedelta(seconds=300),
    description="Export data as CSV or Excel.",
)
async def export_data(payload: ExportData, job: Job) -> dict[str, Any]:
    """Write the present rows into a file, page by page. Return where it is and how to get it."""
    try:
        entity = job.use(ExportEntities).get(payload.entity_type)
        conditions = entity.conditions(payload.filters)
    except ExportRefusedError as error:
        raise PermanentJobError(str(error), "export_refused", job.id) from error
    storage, now = job.use(FileStorage), job.use(AppContext).clock.now()
    path = await asyncio.to_thread(storage.temporary_path, f".{payload.format}")
    try:
        rows = await _write(entity, conditions, payload.format, path, job)
        name = f"exports/{now:%Y-%m}/{entity.name}-{job.id}.{payload.format}"
        file = await storage.save(name, path, now=now)
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    link = job.use(FileLinks).make(file.name, now=now)
    return {
        "path": file.name,
        "rows": rows,
        "bytes": file.size,
        "downloadUrl": link.url,
        "expiresAt": link.expires_at,
    }


async def _write(
    entity: ExportEntity, conditions: list[ColumnElement[bool]], kind: str, path: Path, job: Job
) -> int:
    """Write every row up to the greatest key at the start. Return how many.

    Each page is a short transaction of its own, so that a table of millions can change meanwhile; each row is
    as it was when its page was read.
    """
    database = job.use(AppContext).database
    total, last = await database.read(lambda connection: entity.bounds(connection, conditions))
    writer = await asyncio.to_thread(open_writer, kind, path, entity.headings)
    written, after = 0, 0
    try:
        while after < last:
            page = await database.read(_page(entity, conditions, after, last))
            if not page:
                break
            await asyncio.to_thread(writer.write, (entity.values(row) for row in page))
            written, after = written + len(page), page[-1].id
            await job.progress(min(0.99, written / total), f"{written:,} of {total:,} rows")
    finally:
        await asyncio.to_thread(writer.close)
    return written


def _page(entity: ExportEntity, conditions: list[ColumnElement[bool]], after: int, last: int) -> Any:
    def read(connection: Connection) -> list[Row[Any]]:
        statement = entity.page(conditions, after=after, up_to=last, limit=PAGE_ROWS)
        return list(connection.execute(statement).all())

    return read
