"""Upstash Workflow's part of the wire: its headers, the list of steps, the steps that the server builds.

Citations such as "contract W5.5" are rules of ``docs/contract/workflow/``. All functions are pure; JSON made here
is byte-stable under ``JSON.stringify(JSON.parse(x))``, because some of the SDKs' adapters re-serialise a body before
they verify its signature.
"""

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from emulator.errors import InvalidInput
from emulator.wire.headers import Headers, first_value
from emulator.wire.json_text import as_json

PREFIX = "wfr_"
RUN_ID_HEADER = "Upstash-Workflow-RunId"
CREATED_AT_HEADER = "Upstash-Workflow-CreatedAt"
SDK_VERSION_HEADER = "Upstash-Workflow-Sdk-Version"
SDK_HEADER = "Upstash-Workflow-Sdk"
STEP_CONFIG_HEADER = "Upstash-Workflow-Step-Config"
UNKNOWN_SDK_HEADER = "Upstash-Workflow-Unknown-Sdk"
NO_FAILURE_FUNCTION_HEADER = "Upstash-Workflow-Failure-Callback-Notfound"

# Headers that triggers over the REST API set on the publisher's behalf (contract W4.3).
TRIGGER_FEATURES = "LazyFetch,InitialBody,WF_DetectTrigger,WF_TriggerOnConfig"

NOT_A_WORKFLOW = (
    "detected a non-workflow destination for trigger/invoke. "
    "make sure you are sending the request to the correct endpoint"
)
SDK_TOO_OLD = "trigger rest api is only usable with sdk versions after v1.0.0 major version"

Step = dict[str, Any]


class CallType(StrEnum):
    """The kind of a run's message (contract W1)."""

    STEP = "step"
    """To the workflow's URL, with the list of steps."""
    TO_CALLBACK = "toCallback"
    """To the third party of ``context.call``, with its own body."""
    FROM_CALLBACK = "fromCallback"
    """To the workflow's URL, with the third party's answer."""
    FAILURE_CALL = "failureCall"
    """To the failure URL, with the cause of the run's failure."""
    STEP_CONFIG = "stepConfig"
    """To the workflow's URL, with the list of steps: to run a step with settings of its own (contract W5.8)."""


class Feature(StrEnum):
    """A feature that a publisher supports (contract W3.3)."""

    LAZY_FETCH = "LazyFetch"
    INITIAL_BODY = "InitialBody"
    DETECT_TRIGGER = "WF_DetectTrigger"
    TRIGGER_CONFIG = "WF_TriggerOnConfig"
    STEP_CONFIG = "WF_StepConfig"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowHeaders:
    """The headers that make a published message one of a run. ``url`` is the run's workflow URL."""

    run_id: str
    url: str | None
    is_init: bool
    call_type: CallType
    features: frozenset[str]
    is_invoke: bool
    is_unknown_sdk: bool
    is_triggered_by_sdk: bool


def is_workflow(lines: Headers) -> bool:
    """Return whether these header lines belong to a message of a run."""
    return first_value(lines, RUN_ID_HEADER) is not None


def read_workflow_headers(lines: Headers) -> WorkflowHeaders:
    """Return the parsed headers. Raises InvalidInput naming the header, the value and what is accepted."""
    run_id = (first_value(lines, RUN_ID_HEADER) or "").strip()
    if not run_id or "/" in run_id:
        raise InvalidInput(f"invalid {RUN_ID_HEADER} {run_id!r}: expected a run id such as wfr_abc")
    text = first_value(lines, "Upstash-Workflow-CallType") or CallType.STEP
    try:
        call_type = CallType(text)
    except ValueError:
        accepted = ", ".join(CallType)
        raise InvalidInput(
            f"invalid Upstash-Workflow-CallType {text!r}: expected one of {accepted}"
        ) from None
    return WorkflowHeaders(
        run_id=run_id,
        url=first_value(lines, "Upstash-Workflow-Url"),
        is_init=_flag(lines, "Upstash-Workflow-Init"),
        call_type=call_type,
        features=_features(first_value(lines, "Upstash-Feature-Set")),
        is_invoke=_flag(lines, "Upstash-Workflow-Invoke"),
        # The vendor's client sends it as a header of the workflow (contract W4.3).
        is_unknown_sdk=_flag(lines, UNKNOWN_SDK_HEADER)
        or _flag(lines, f"Upstash-Forward-{UNKNOWN_SDK_HEADER}"),
        is_triggered_by_sdk=_flag(lines, "Upstash-Workflow-Trigger-By-Sdk"),
    )


def _flag(lines: Headers, name: str) -> bool:
    return (first_value(lines, name) or "").strip().lower() == "true"


def _features(text: str | None) -> frozenset[str]:
    return frozenset(item.strip() for item in (text or "").split(",") if item.strip())


_CONFIGURED = frozenset(
    {
        "upstash-retries", "upstash-retry-delay", "upstash-flow-control-key", "upstash-flow-control-value",
        "upstash-failure-callback", "upstash-label", "upstash-redact-fields",
    }
)  # fmt: skip
_FORWARD = "upstash-forward-"
_FORWARDED_WORKFLOW = "upstash-forward-upstash-workflow-"
_FLOW_CONTROL = "upstash-flow-control-"
_FAILURE_CALLBACK = "upstash-failure-callback"


def trigger_configuration(lines: Headers) -> Headers:
    """Return the lines of a trigger that also apply to the run's later messages (contract W3.4)."""
    return tuple((name, value) for name, value in lines if _is_configuration(name.lower()))


def _is_configuration(name: str) -> bool:
    if name.startswith(_FORWARD):
        return not name.startswith(_FORWARDED_WORKFLOW)
    return name in _CONFIGURED or name.startswith(f"{_FAILURE_CALLBACK}-")


def inherited(own: Headers, configuration: Headers) -> Headers:
    """Return the lines of the trigger's configuration that a message with the lines ``own`` inherits.

    Flow control and the failure callback are units: a message with its own inherits no part of the run's. Single
    names are left to the option reader.
    """
    names = {name.lower() for name, _ in own}
    has_flow = any(name.startswith(_FLOW_CONTROL) for name in names)
    has_failure_callback = _FAILURE_CALLBACK in names
    return tuple(
        (name, value)
        for name, value in configuration
        if not (has_flow and name.lower().startswith(_FLOW_CONTROL))
        and not (has_failure_callback and name.lower().startswith(_FAILURE_CALLBACK))
    )


_DELAY_PART = re.compile(r"([0-9]+)(mo|[smhdwy])")
_DELAY = re.compile(r"(?:[0-9]+(?:mo|[smhdwy]))+")
_DAYS = {"w": 7, "mo": 30, "y": 365}


def plain_spelling(lines: Headers) -> Headers:
    """Return ``lines`` with the Workflow SDKs' spellings of options replaced by those of plain publishing.

    A timeout may be a bare number of seconds, a delay may be in weeks, months (30 days) and years (365 days)
    (contract W3.1).
    """
    return tuple((name, _plain_value(name.lower(), value.strip())) for name, value in lines)


def _plain_value(name: str, value: str) -> str:
    if name == "upstash-timeout" and value.isascii() and value.isdigit():
        return f"{value}s"
    if name == "upstash-delay" and _DELAY.fullmatch(value):
        return "".join(
            f"{int(count) * _DAYS[unit]}d" if unit in _DAYS else f"{count}{unit}"
            for count, unit in _DELAY_PART.findall(value)
        )
    return value


def take_not_before(lines: Headers) -> tuple[Headers, int | None]:
    """Return the other lines, and ``Upstash-Not-Before`` (unix seconds, perhaps fractional) in unix milliseconds.

    Raises InvalidInput for another value.
    """
    text = first_value(lines, "Upstash-Not-Before")
    if not text:
        return lines, None
    rest = tuple((name, value) for name, value in lines if name.lower() != "upstash-not-before")
    if not re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", text):
        raise InvalidInput(f"invalid Upstash-Not-Before {text!r}: expected unix seconds, such as 1795452152")
    return rest, math.ceil(float(text) * 1000)


# The list of steps (contract W2)


def encode_entry(message_id: str, body: bytes) -> bytes:
    """Return one element of the list. ``body`` is the published body, byte for byte."""
    return b'{"messageId":%s,"body":"%s","callType":"step"}' % (
        compact_json(message_id),
        base64.b64encode(body),
    )


def compact_json(value: object) -> bytes:
    """Return JSON without blanks or needless escapes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


# Steps that the server builds (contract W5.5 and W5.7)


def completed_wait(step: Step, *, event_id: str, timeout: str, data: bytes) -> bytes:
    """Return the result step of a wait that an event ended; without ``out`` if the event is empty."""
    out = {"out": base64.b64encode(data).decode("ascii")} if data else {}
    return compact_json({**step, "waitEventId": event_id, "timeout": timeout, "waitTimeout": False, **out})


def timed_out_wait(step: Step, *, event_id: str, timeout: str) -> bytes:
    """Return the result step of a wait that timed out; without ``out``, as null or "" would be data."""
    return compact_json({**step, "waitEventId": event_id, "timeout": timeout, "waitTimeout": True})


def completed_invoke(step: Step, *, body: str | None, is_failed: bool, is_canceled: bool) -> bytes:
    """Return the result step of an invoke whose run has ended; ``body`` is that run's return value, if any."""
    outcome: dict[str, object] = {} if body is None else {"body": body}
    outcome |= {"isFailed": is_failed, "isCanceled": is_canceled}
    return compact_json({**step, "out": compact_json(outcome).decode()})


PLAN_SPELLINGS = (b'{"stepId":0,', b'{"stepId": 0,')
"""The beginning of a plan as the TypeScript and the Python SDK write it (contract W5.3)."""


def is_plan(body: bytes) -> bool:
    """Return whether a published step is a plan: it announces a branch of a parallel step and has no result."""
    return body.startswith(PLAN_SPELLINGS)


def read_step(body: bytes) -> Step:
    """Return a published step, or an empty one if the body is not a JSON object.

    A lone surrogate, which JSON can spell and UTF-8 cannot, becomes U+FFFD.
    """
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}
    if b"\\ud" in body.lower():
        text = json.dumps(value, ensure_ascii=False)
        value = json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return value if isinstance(value, dict) else {}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def header_lines_of(value: Any, *, what: str) -> Headers:
    """Return a JSON header map, whose values are texts or lists of texts, as header lines.

    Raises InvalidInput naming the header.
    """
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InvalidInput(f"invalid {what}: headers {as_json(value)} is not an object")
    lines: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, given in value.items():
        if str(name).lower() in seen:
            continue
        seen.add(str(name).lower())
        for one in given if isinstance(given, list) else [given]:
            if not isinstance(one, str) or any(character in one for character in "\r\n\0"):
                raise InvalidInput(
                    f"invalid {what}: header {name} must be text on one line, not {as_json(one)}"
                )
            lines.append((str(name), one))
    return tuple(lines)


def rebind(lines: Iterable[tuple[str, str]], run_id: str) -> Headers:
    """Return header lines of one run, changed for the run ``run_id``."""
    return tuple(
        (name, run_id if name.lower().endswith("workflow-runid") else value) for name, value in lines
    )


def prefixed(run_id: str) -> str:
    """Return ``run_id`` with the prefix of run ids."""
    return run_id if run_id.startswith(PREFIX) else f"{PREFIX}{run_id}"
