"""The publishes of a simulation, as header lines."""

from dataclasses import dataclass

from emulator.testing.invariants import Rate
from emulator.testing.recorder import Limits
from tests.simulation.simulator.network import Plan

# Retry-delay expressions with their waits in milliseconds, computed by hand; the last wait repeats.
RETRY_DELAYS: dict[str, tuple[int, ...]] = {
    "1000": (1_000,),
    "1000 * (1 + retried)": (1_000, 2_000, 3_000, 4_000, 5_000, 6_000),
    "pow(2, retried) * 1000": (1_000, 2_000, 4_000, 8_000, 16_000, 32_000),
    "max(500, 3000 - 1000 * retried)": (3_000, 2_000, 1_000, 500),
}

GROUP = "everyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """A flow-control key and the limits that a message sets for it."""

    key: str
    parallelism: int | None = None
    rate: int | None = None
    period_seconds: int = 1

    @property
    def limits(self) -> Limits:
        """Return the limits in the recorder's form."""
        return self.parallelism, Rate(rate=self.rate, period_seconds=self.period_seconds)

    @property
    def value(self) -> str:
        """Return the header's value."""
        parts = []
        if self.parallelism is not None:
            parts.append(f"parallelism={self.parallelism}")
        if self.rate is not None:
            parts.append(f"rate={self.rate}, period={self.period_seconds}s")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSpec:
    """A publish. Its ``label`` is part of the URL, so that every request can be matched to its publish.

    ``host`` is the destination's, ``None`` for the URL group. Two steps with one label publish the same message twice.
    """

    label: str
    host: str | None = "one"
    queue: str | None = None
    flow: FlowSpec | None = None
    delay_seconds: int | None = None
    not_before_seconds: int | None = None
    retries: int | None = None
    retry_delay: str | None = None
    timeout_seconds: int | None = None
    deduplication_id: str | None = None
    is_content_deduplicated: bool = False
    has_callback: bool = False
    has_failure_callback: bool = False
    plan: Plan = ()
    callback_plan: Plan = ()

    @property
    def body(self) -> bytes:
        """Return the body."""
        return body_of(self.label)

    @property
    def is_deduplicated(self) -> bool:
        """Return whether publishing it again creates no second message."""
        return self.deduplication_id is not None or self.is_content_deduplicated

    @property
    def destination(self) -> str:
        """Return the publish target."""
        return f"{GROUP}?m={self.label}" if self.host is None else self.url

    @property
    def url(self) -> str:
        """Return the URL of a message that is not for the group."""
        return f"https://{self.host}.example/hook?m={self.label}"

    def plans(self) -> dict[str, Plan]:
        """Return the reactions of its destination and of its callbacks' destinations, by label."""
        callbacks = {f"{self.label}.{kind}": self.callback_plan for kind in ("callback", "failure")}
        return {self.label: self.plan, **callbacks}

    def headers(self) -> dict[str, str]:
        """Return the publish options."""
        options: dict[str, object | None] = {
            "Upstash-Delay": None if self.delay_seconds is None else f"{self.delay_seconds}s",
            "Upstash-Not-Before": self.not_before_seconds,
            "Upstash-Retries": self.retries,
            "Upstash-Retry-Delay": self.retry_delay,
            "Upstash-Timeout": None if self.timeout_seconds is None else f"{self.timeout_seconds}s",
            "Upstash-Deduplication-Id": self.deduplication_id,
            "Upstash-Content-Based-Deduplication": "true" if self.is_content_deduplicated else None,
            "Upstash-Flow-Control-Key": self.flow and self.flow.key,
            "Upstash-Flow-Control-Value": self.flow and self.flow.value,
            "Upstash-Label": self.label,
            "Upstash-Callback": self._callback("callback") if self.has_callback else None,
            "Upstash-Failure-Callback": self._callback("failure") if self.has_failure_callback else None,
        }
        return {name: str(value) for name, value in options.items() if value is not None}

    def _callback(self, kind: str) -> str:
        return f"https://callbacks.example/report?m={self.label}&cb={kind}"

    def __str__(self) -> str:
        told = [f"{name}: {value}" for name, value in self.headers().items() if name != "Upstash-Label"]
        where = [f"queue {self.queue}"] if self.queue else []
        to = "the group" if self.host is None else self.host
        plan = [f"attempt {number} {reaction}" for number, reaction in enumerate(self.plan)]
        plan += [f"callback {number} {reaction}" for number, reaction in enumerate(self.callback_plan)]
        return f"{self.label} to {to} ({'; '.join([*where, *told, *plan]) or 'plain'})"


def body_of(label: str) -> bytes:
    """Return the body of a message of ``label``."""
    return f"body of {label}".encode()
