"""The limits of the plans (contract 1.10). By default the emulator uses lenient limits."""

from dataclasses import dataclass

_SECOND_MS = 1_000
_DAY_MS = 86_400_000
_MIB = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds on a publisher's options; all inclusive."""

    max_body_bytes: int = 10_000_000
    max_batch_bytes: int = 100_000_000
    max_batch_items: int = 100_000
    max_retries: int = 1_000
    max_daily_messages: int | None = None
    """Messages that may be published from one midnight (UTC) to the next; ``None`` for any number."""
    max_delay_ms: int = 10 * 365 * _DAY_MS
    max_timeout_ms: int = 7_200 * _SECOND_MS
    max_queues: int = 10_000
    max_queue_parallelism: int = 10_000
    max_schedules: int = 10_000
    max_url_groups: int = 10_000
    max_endpoints: int = 10_000
    retention_ms: int = 7 * _DAY_MS
    max_run_steps: int = 1_000
    """Results of steps in one workflow run; the same on every plan, as are the two below (contract W6.7)."""
    max_run_context_bytes: int = 100_000_000
    """Bytes of a run's payload and the results of its steps."""
    max_invoke_depth: int = 100
    """Depth of runs that invoke one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished messages with their logs, and entries of the dead letter queue, are kept."""

    messages_ms: int
    dead_letters_ms: int


LENIENT = Limits()

PLANS = {
    "lenient": LENIENT,
    "free": Limits(
        max_body_bytes=_MIB,
        max_retries=5,
        max_daily_messages=1_000,
        max_delay_ms=7 * _DAY_MS,
        max_timeout_ms=900 * _SECOND_MS,
        max_queues=10,
        max_queue_parallelism=2,
        max_schedules=10,
        max_url_groups=1,
        max_endpoints=100,
        retention_ms=3 * _DAY_MS,
    ),
    "payg": Limits(
        max_retries=5,
        max_delay_ms=365 * _DAY_MS,
        max_queues=100,
        max_queue_parallelism=100,
        max_schedules=1_000,
        max_url_groups=100,
        max_endpoints=100,
    ),
    "pro": Limits(
        max_body_bytes=50_000_000,
        max_retries=5,
        max_delay_ms=365 * _DAY_MS,
        max_queues=100,
        max_queue_parallelism=100,
        max_schedules=1_000,
        max_url_groups=100,
        max_endpoints=100,
        retention_ms=14 * _DAY_MS,
    ),
}
