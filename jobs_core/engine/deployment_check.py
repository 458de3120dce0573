"""The checks of ``jobs-core check``: is this deployment complete?"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from jobs_core.database import migrations
from jobs_core.engine.check_round_trip import Nothing, check_round_trip
from jobs_core.engine.delivery_trouble import find_troubles
from jobs_core.engine.dispatcher import JobDispatcher
from jobs_core.engine.registry import default_registry
from jobs_core.model.clock_difference import clock_problem
from jobs_core.model.errors import JobStateError, PublishError, RegistryError
from jobs_core.model.states import JobStatus
from jobs_core.qstash.client import QStashClient
from jobs_core.settings.regions import SigningKeys
from jobs_core.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    detail: str


async def run(settings: Settings, *, round_trip_seconds: float | None = None) -> list[Finding]:
    """Run every check; a failed one stops no other, but the round-trip job is only sent where it can arrive.

    ``round_trip_seconds`` is how long to wait for that job; ``None`` sends none.
    """
    warnings = [Finding("settings", True, f"warning: {warning}") for warning in settings.warnings()]
    findings = [
        *(warnings or [Finding("settings", True, f"{settings.environment}, nothing to complain of")]),
        _job_types(settings),
        await asyncio.to_thread(_database, settings),
        *[await _qstash(account) for account in _accounts(settings)],
    ]
    if round_trip_seconds is not None and all(each.ok for each in findings):
        findings.append(await _round_trip(settings, round_trip_seconds))
    return findings


def _job_types(settings: Settings) -> Finding:
    try:
        registry = default_registry(settings.jobs_modules)
    except (RegistryError, ImportError) as error:
        return Finding("job types", False, str(error))
    return Finding("job types", True, ", ".join(definition.job_type for definition in registry))


def _database(settings: Settings) -> Finding:
    try:
        at = migrations.current(settings.database_url)
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        return Finding("database", False, f"does not answer: {reason}; is DATABASE_URL right?")
    if at != migrations.head():
        return Finding(
            "database", False, f"is at {at or 'nothing'}, not {migrations.head()}: jobs-core migrate"
        )
    return Finding("database", True, f"is at {at}")


@dataclass(frozen=True, slots=True)
class _Account:
    """One region's URL, token and signing keys."""

    name: str
    url: str
    token: str = field(repr=False)
    keys: SigningKeys
    tolerance_seconds: int


def _accounts(settings: Settings) -> list[_Account]:
    """Return the region that is published to, and every region with settings of its own."""
    tolerance, primary = settings.signature_tolerance_seconds, settings.qstash_region
    by_region = settings.signing_keys_by_region
    first = _Account(
        f"QStash {primary}" if primary else "QStash",
        settings.qstash_url,
        settings.qstash_token.get_secret_value(),
        by_region.get(primary, settings.signing_keys) if primary else settings.signing_keys,
        tolerance,
    )
    others = (
        _Account(f"QStash {region}", credentials.url, credentials.token, by_region[region], tolerance)
        for region, credentials in settings.credentials_by_region.items()
        if region is not primary and region in by_region
    )
    return [first, *others]


async def _qstash(account: _Account) -> Finding:
    async with QStashClient(account.url, account.token) as client:
        try:
            current, following = await client.signing_keys()
        except PublishError as error:
            return Finding(account.name, False, error.message)
        if problem := clock_problem(client.clock_ahead, account.tolerance_seconds):
            return Finding(account.name, False, problem)
    prefix = account.keys.prefix
    if current != account.keys.current:
        why = f"{prefix}QSTASH_CURRENT_SIGNING_KEY is not the key that QStash signs with"
        return Finding(account.name, False, why)
    if following != account.keys.next:
        why = f"{prefix}QSTASH_NEXT_SIGNING_KEY is not the key that QStash will sign with next"
        return Finding(account.name, False, why)
    return Finding(account.name, True, f"{account.url} takes the token and has the same signing keys")


async def _round_trip(settings: Settings, patience_seconds: float) -> Finding:
    url = f"{settings.base_url}{check_round_trip.endpoint}"
    async with JobDispatcher(settings) as dispatcher:
        job_id = await dispatcher.enqueue(check_round_trip, Nothing())
        began = time.monotonic()
        try:
            record = await dispatcher.wait(job_id, patience_seconds)
        except TimeoutError:
            troubles = await find_troubles(dispatcher.context, [await dispatcher.get(job_id)])
            with contextlib.suppress(JobStateError):  # it may arrive at the last moment
                await dispatcher.cancel(job_id)
            return Finding(
                "round trip",
                False,
                f"no job came to {url} within {patience_seconds:g} s: "
                + troubles.get(job_id, "is the worker running, and can QStash reach BASE_URL?"),
            )
        took_ms = (time.monotonic() - began) * 1000
        if record.status is JobStatus.COMPLETED:
            return Finding("round trip", True, f"a job went to {url} and was done in {took_ms:.0f} ms")
        troubles = await find_troubles(dispatcher.context, [record])
    why = troubles.get(job_id) or record.error
    return Finding("round trip", False, f"the job sent to {url} is {record.status}: {why}")
