"""The invariants, checked on the record of a run.

The checks use only what was seen from outside, and rules of their own that follow the contract. They import nothing of
the broker, the protocol or the store, so that a mistake there cannot repeat itself here.
"""

from collections.abc import Callable, Iterator

from emulator.testing.invariants.attempts import check_attempts, check_due_times, check_retries
from emulator.testing.invariants.flow_control import (
    check_flow_parallelism,
    check_flow_pauses,
    check_flow_rates,
)
from emulator.testing.invariants.index import RunIndex
from emulator.testing.invariants.messages import (
    check_callbacks,
    check_cancels,
    check_contents,
    check_deduplication,
    check_ends,
    check_histories,
    check_nothing_lost,
    check_states,
)
from emulator.testing.invariants.queues import check_queue_order, check_queue_parallelism, check_queue_pauses
from emulator.testing.invariants.record import (
    AttemptRecord,
    FlowKeyRecord,
    Interruption,
    LogRecord,
    MessageRecord,
    QueueRecord,
    Rate,
    Record,
    ScheduleRecord,
    SettingChange,
)
from emulator.testing.invariants.run_record import (
    DeliveredList,
    Execution,
    InvokedRun,
    RunRecord,
    SentEvent,
    StepRecord,
)
from emulator.testing.invariants.runs import check_run_ends, check_run_events, check_run_steps
from emulator.testing.invariants.schedules import check_schedules
from emulator.testing.invariants.signatures import check_signatures
from emulator.testing.invariants.violation import Invariant, Violation

__all__ = [
    "AttemptRecord",
    "DeliveredList",
    "Execution",
    "FlowKeyRecord",
    "Interruption",
    "Invariant",
    "InvokedRun",
    "LogRecord",
    "MessageRecord",
    "QueueRecord",
    "Rate",
    "Record",
    "RunRecord",
    "ScheduleRecord",
    "SentEvent",
    "SettingChange",
    "StepRecord",
    "Violation",
    "check_invariants",
]

Check = Callable[[RunIndex], Iterator[Violation]]

_ALWAYS: tuple[Check, ...] = (
    check_nothing_lost,
    check_contents,
    check_histories,
    check_ends,
    check_states,
    check_cancels,
    check_callbacks,
    check_attempts,
    check_signatures,
    check_run_ends,
    check_run_steps,
)

# These compare the times of different events, which means nothing once the clock was set back.
_WHILE_TIME_GOES_ON: tuple[Check, ...] = (
    check_retries,
    check_due_times,
    check_queue_parallelism,
    check_queue_order,
    check_queue_pauses,
    check_flow_parallelism,
    check_flow_pauses,
    check_flow_rates,
    check_schedules,
    check_deduplication,
    check_run_events,
)


def check_invariants(record: Record) -> list[Violation]:
    """Return every violation in ``record``; empty if every invariant holds."""
    index = RunIndex(record)
    checks = _ALWAYS if record.went_back else (*_ALWAYS, *_WHILE_TIME_GOES_ON)
    return [violation for check in checks for violation in check(index)]
