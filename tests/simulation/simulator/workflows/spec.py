"""The steps of a simulated workflow, and the header lines with which the Workflow SDKs request them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.simulation.simulator.network import Plan
from tests.simulation.simulator.spec import RETRY_DELAYS, FlowSpec

HOST = "workflows.example"
FEATURES = "LazyFetch,InitialBody,WF_DetectTrigger,WF_TriggerOnConfig"
FAILED = "failed"
"""The callback kind in the URL of a run's failure callback."""

Kind = Literal["Run", "SleepFor", "Call", "Wait", "WaitForWebhook", "Invoke"]
Trigger = Literal["client", "rest", "unknown sdk"]
"""Who starts a run: the SDK's client, or a REST caller, who may not know the endpoint's SDK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One step of a workflow. ``seconds`` is the sleep or the longest wait. A call has ``retries``, and a ``plan`` of
    the called service's reactions. ``child`` is the invoked workflow.
    """

    name: str
    kind: Kind
    seconds: int = 0
    retries: int = 0
    plan: Plan = ()
    child: "RunSpec | None" = None

    def __str__(self) -> str:
        match self.kind:
            case "WaitForWebhook":
                return f"wait for a webhook at most {self.seconds} s"
            case "Invoke":
                return f"invoke {self.child}"
            case "SleepFor":
                return f"sleep {self.seconds} s"
            case "Wait":
                return f"wait for an event at most {self.seconds} s"
            case "Call":
                told = "".join(f", {reaction}" for reaction in self.plan)
                return f"call ({self.retries} retries{told})"
            case "Run":
                return "run"


Block = tuple[Action, ...]
"""Steps that run at the same time; one alone is an ordinary step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """A run. ``label`` names it and is part of its URLs. ``plan`` lists its endpoint's reactions to the requests of
    this label in their order; after the last, it does its work. ``callback_plan`` is the same for the failure
    callback's destination, with ``callback_retries``.
    """

    label: str
    blocks: tuple[Block, ...]
    retries: int = 3
    retry_delay: str | None = None
    delay_seconds: int | None = None
    flow: FlowSpec | None = None
    has_failure_callback: bool = True
    callback_retries: int = 3
    callback_plan: Plan = ()
    plan: Plan = ()
    trigger: Trigger = "client"

    @property
    def run_id(self) -> str:
        return f"wfr_{self.label}"

    @property
    def url(self) -> str:
        """Return the endpoint's URL."""
        return f"https://{HOST}/run?m={self.label}"

    @property
    def retry_waits_ms(self) -> tuple[int, ...] | None:
        """Return the waits of its retry-delay expression; ``None`` is the default backoff."""
        return RETRY_DELAYS[self.retry_delay] if self.retry_delay else None

    def action_of(self, name: str) -> Action:
        """Return the step of that name."""
        return next(action for block in self.blocks for action in block if action.name == name)

    def call_url(self, action: Action) -> str:
        """Return the URL of a call."""
        return f"https://pay.example/charge?m={self.label}&cb={action.name}"

    def event_id(self, action: Action) -> str:
        """Return the id of the event that a wait is for."""
        return f"event-{self.label}-{action.name}"

    def family(self) -> Iterator["RunSpec"]:
        """Yield this workflow, and all that it invokes, directly or indirectly."""
        yield self
        for block in self.blocks:
            for action in block:
                if action.child is not None:
                    yield from action.child.family()

    def plans(self) -> dict[str, Plan]:
        """Return the reactions of endpoints and of called services, by label."""
        plans: dict[str, Plan] = {}
        for spec in self.family():
            plans |= {spec.label: spec.plan, f"{spec.label}.{FAILED}": spec.callback_plan}
            calls = (action for block in spec.blocks for action in block if action.kind == "Call")
            plans |= {f"{spec.label}.{action.name}": action.plan for action in calls}
        return plans

    def headers(self, run_id: str, *, is_init: bool = False) -> dict[str, str]:
        """Return the headers of every message of a run (contract W3.1)."""
        return {
            "Content-Type": "application/json",
            "Upstash-Workflow-Init": str(is_init).lower(),
            "Upstash-Workflow-RunId": run_id,
            "Upstash-Workflow-Url": self.url,
            "Upstash-Workflow-Sdk-Version": "1",
            "Upstash-Feature-Set": FEATURES,
            "Upstash-Forward-Upstash-Workflow-Sdk-Version": "1",
        }

    def trigger_headers(self, run_id: str) -> dict[str, str]:
        """Return the headers of a trigger by the SDK's client (contract W4.1)."""
        return self.headers(run_id, is_init=True) | self._options(run_id)

    def rest_headers(self) -> dict[str, str]:
        """Return the headers of a trigger over the REST API; the emulator adds the others (contract W4.3)."""
        headers = {"Upstash-Workflow-RunId": self.run_id} | self._options(self.run_id)
        return headers | ({"Upstash-Workflow-Unknown-Sdk": "true"} if self.trigger == "unknown sdk" else {})

    def _options(self, run_id: str) -> dict[str, str]:
        headers = {"Upstash-Retries": str(self.retries)}
        if self.retry_delay is not None:
            headers["Upstash-Retry-Delay"] = self.retry_delay
        if self.delay_seconds is not None:
            headers["Upstash-Delay"] = f"{self.delay_seconds}s"
        if self.flow is not None:
            headers["Upstash-Flow-Control-Key"] = self.flow.key
            headers["Upstash-Flow-Control-Value"] = self.flow.value
        if self.has_failure_callback:
            prefix = "Upstash-Failure-Callback"
            headers |= {
                prefix: f"https://callbacks.example/report?m={self.label}&cb={FAILED}",
                f"{prefix}-Retries": str(self.callback_retries),
                f"{prefix}-Workflow-RunId": run_id,
                f"{prefix}-Workflow-Init": "false",
                f"{prefix}-Workflow-Url": self.url,
                f"{prefix}-Workflow-CallType": "failureCall",
                f"{prefix}-Feature-Set": FEATURES,
                f"{prefix}-Forward-Upstash-Workflow-Is-Failure": "true",
            }
        return headers

    def call_headers(self, run_id: str, action: Action, step_id: int, concurrent: int) -> dict[str, str]:
        """Return the headers of a call, and of its report (contract W5.4)."""
        prefix = "Upstash-Callback"
        return {
            "Content-Type": "application/json",
            "Upstash-Method": "POST",
            "Upstash-Retries": str(action.retries),
            "Upstash-Feature-Set": "WF_NoDelete,InitialBody",
            "Upstash-Workflow-CallType": "toCallback",
            "Upstash-Workflow-Init": "false",
            "Upstash-Workflow-RunId": run_id,
            "Upstash-Workflow-Url": self.url,
            "Upstash-Workflow-Sdk-Version": "1",
            prefix: self.url,
            f"{prefix}-Workflow-CallType": "fromCallback",
            f"{prefix}-Workflow-RunId": run_id,
            f"{prefix}-Workflow-Init": "false",
            f"{prefix}-Workflow-Url": self.url,
            f"{prefix}-Feature-Set": FEATURES,
            f"{prefix}-Forward-Upstash-Workflow-Callback": "true",
            f"{prefix}-Forward-Upstash-Workflow-StepId": str(step_id),
            f"{prefix}-Forward-Upstash-Workflow-StepName": action.name,
            f"{prefix}-Forward-Upstash-Workflow-StepType": "Call",
            f"{prefix}-Forward-Upstash-Workflow-Concurrent": str(concurrent),
        }

    def __str__(self) -> str:
        blocks = ", then ".join(" beside ".join(map(str, block)) for block in self.blocks)
        told = [f"{self.retries} retries"]
        told += [f"retry delay {self.retry_delay}"] if self.retry_delay else []
        told += [f"delay {self.delay_seconds} s"] if self.delay_seconds is not None else []
        told += [f"flow control {self.flow.key}: {self.flow.value}"] if self.flow else []
        told += [f"triggered by {self.trigger}"] if self.trigger != "client" else []
        told += [f"callback {number} {reaction}" for number, reaction in enumerate(self.callback_plan)]
        told += [f"request {number} {reaction}" for number, reaction in enumerate(self.plan)]
        return f"{self.label} ({blocks}; {'; '.join(told)})"
