"""Job ids are UUIDs. Ours grow with time (RFC 9562, version 7), so an index on them grows at its end."""

import secrets
import uuid
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

_SCHEDULED = uuid.UUID("6f0d2b0a-9c0e-5d0e-8a35-4a1f1d3c7e52")


def _canonical(value: str) -> str:
    return str(uuid.UUID(value))


JobId = Annotated[str, AfterValidator(_canonical)]


def new_job_id(now: datetime) -> str:
    """Return a new id. Ids made in later milliseconds sort higher."""
    milliseconds = int(now.timestamp() * 1000) & (1 << 48) - 1
    low = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (low >> 62) << 64 | 0b10 << 62 | low & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def scheduled_job_id(schedule_id: str, message_id: str) -> str:
    """Return the id of one firing of a schedule, the same for every delivery of that message."""
    return str(uuid.uuid5(_SCHEDULED, f"{schedule_id}\n{message_id}"))
