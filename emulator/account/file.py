"""``qstash.yaml`` as text: read into a state, and written of one (docs/account.md, "The file").

Every scalar is read as text: ``yes`` is not a boolean and ``1e3`` not a number unless the field requires one.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from emulator.account.errors import FormError
from emulator.account.form import FileForm
from emulator.account.secrecy import shown_url
from emulator.account.values import (
    AccountQueue,
    AccountSchedule,
    AccountState,
    AccountUrlGroup,
    Lines,
    Pin,
    Value,
)


def load(text: str, *, file: str, environment: Mapping[str, str]) -> AccountState:
    """Return the state that a file describes. Raise FormError naming the file, the field and the value."""
    try:
        given = yaml.load(text, Loader=_Loader)  # noqa: S506  derived from the base loader, which makes only strings
    except yaml.YAMLError as error:
        raise FormError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise FormError(f"{file}: expected {', '.join(_parts())}")
    try:
        return FileForm.model_validate(given, context=dict(environment)).to_value()
    except ValidationError as error:
        raise FormError("\n".join(f"{file}: {_problem(one)}" for one in error.errors())) from None


def dump(state: AccountState) -> str:
    """Return the text of a file that describes ``state``, without fields that have their default."""
    parts = {to_camel(name): _plain_part(state.part(name)) for name in FileForm.model_fields}
    given = {name: part for name, part in parts.items() if part is not None}
    return str(yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=100))


def _parts() -> list[str]:
    return [to_camel(name) for name in FileForm.model_fields]


def _problem(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"] if part != "[key]") or "the file"
    words = error["msg"].removeprefix("Value error, ")
    # Other values may be secrets, for example under a misspelt field.
    is_hidden = error["type"] == "extra_forbidden" or any(_is_secret(str(part)) for part in error["loc"])
    if is_hidden or not isinstance(given := error["input"], str):
        return f"{where}: {words}"
    shown = shown_url(given)
    return f"{where}: {words.replace(given, shown) if given else words} (got {shown!r})"


def _is_secret(field: str) -> bool:
    return field.lower().endswith("headers") or field in {"body", "bodyBase64", "body_base64"}


class _Loader(yaml.BaseLoader):
    """Loads texts, lists and mappings, and refuses a key that is twice in a mapping, of which YAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "expected text as a name, not a list or a mapping", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} appears twice", key.start_mark
                )
            seen.add(str(key.value))
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def _plain_part(part: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if part is None:
        return None
    plain: dict[type, Callable[[Any], dict[str, Any]]] = {
        AccountSchedule: _plain_schedule,
        AccountUrlGroup: _plain_group,
        AccountQueue: _plain_queue,
        Pin: _plain_pin,
    }
    return {name: plain[type(one)](one) for name, one in part.items()}


def _plain_schedule(one: AccountSchedule) -> dict[str, Any]:
    flow = one.flow_control
    fields = {
        "cron": one.cron,
        "destination": one.destination,
        "method": None if one.method == "POST" else one.method,
        "headers": _plain_lines(one.headers),
        **_plain_body(one.body),
        "retries": None if one.retries == 3 else one.retries,
        "retryDelay": one.retry_delay,
        "delay": one.delay,
        "timeout": one.timeout,
        "callback": one.callback,
        "callbackHeaders": _plain_lines(one.callback_headers),
        "failureCallback": one.failure_callback,
        "failureCallbackHeaders": _plain_lines(one.failure_callback_headers),
        "callbackRetries": one.callback_retries,
        "failureCallbackRetries": one.failure_callback_retries,
        "queue": one.queue,
        "labels": list(one.labels),
        "flowControl": None
        if flow is None
        else _present(
            {
                "key": flow.key,
                "parallelism": flow.parallelism,
                "rate": flow.rate,
                "period": None if flow.period == 1 else flow.period,
            }
        ),
        "redact": sorted(one.redact),
        "paused": one.paused or None,
    }
    return _present(fields)


def _plain_group(one: AccountUrlGroup) -> dict[str, Any]:
    endpoints = sorted(one.endpoints, key=lambda endpoint: (endpoint.url, endpoint.name or ""))
    plain = [_present({"url": endpoint.url, "name": endpoint.name}) for endpoint in endpoints]
    return _present({"endpoints": plain, "headers": _plain_lines(one.headers)})


def _plain_queue(one: AccountQueue) -> dict[str, Any]:
    return {"parallelism": one.parallelism} | ({"paused": True} if one.paused else {})


def _plain_pin(one: Pin) -> dict[str, Any]:
    return _present(
        {
            "parallelism": one.parallelism,
            "rate": one.rate,
            "period": one.period or None,
            "paused": one.paused or None,
        }
    )


def _plain_lines(lines: Lines) -> dict[str, Any]:
    return {
        name: _plain_value(values[0]) if len(values) == 1 else [_plain_value(one) for one in values]
        for name, values in lines
    }


def _plain_value(value: Value) -> Any:
    if value.data is None:
        return {"withheld": True}
    return value.data.decode(errors="replace")


def _plain_body(body: Value) -> dict[str, Any]:
    if body.data is None:
        return {"body": {"withheld": True}}
    try:
        return {"body": body.data.decode() or None}
    except UnicodeDecodeError:
        return {"bodyBase64": base64.b64encode(body.data).decode("ascii")}


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [], {})}
