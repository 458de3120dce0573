"""Every ``Upstash-*`` option by name, with its meaning. The parser and the API's description share this table.

Names are in lower case without their prefix, as ``wire.options`` keeps them (contract 3.2).
"""

from typing import Final, NamedTuple

_DURATION = r"^(\d{1,6}[smhd]){1,4}$"
_FLAG = r"^([Tt]rue|[Ff]alse)$"
_NUMBER = r"^\d{1,12}$"
_URL = r"^https?://\S+$"
_NAME = r"^[A-Za-z0-9_.-]+$"


class OptionHeader(NamedTuple):
    """``pattern`` describes the values in the API's description; ``wire.options`` validates them."""

    meaning: str
    pattern: str | None = None


OPTION_HEADERS: Final[dict[str, OptionHeader]] = {
    "method": OptionHeader("Verb of the delivery. Default POST.", r"^(GET|POST|PUT|PATCH|DELETE)$"),
    "timeout": OptionHeader(
        "How long an attempt may take, such as 90s; shortens the plan's maximum.", _DURATION
    ),
    "retries": OptionHeader("How many retries follow a failed first attempt. Default 3.", _NUMBER),
    "retry-delay": OptionHeader("Milliseconds, as an expression over 'retried': 'pow(2, retried) * 1000'."),
    "delay": OptionHeader("How long to wait before the first attempt, such as 10s or 1d10h.", _DURATION),
    "not-before": OptionHeader("Unix seconds of the first attempt; wins over the delay.", _NUMBER),
    "label": OptionHeader("Comma list of labels that messages, logs and the DLQ are filtered by."),
    "flow-control-key": OptionHeader("The key whose limits hold for this message; needs the value."),
    "flow-control-value": OptionHeader(
        "rate=N, parallelism=N and period=<duration>, comma separated; needs the key.",
        r"^(rate|parallelism)=\d{1,9}(, ?(rate|parallelism)=\d{1,9})?(, ?period=\d{1,5}[smhd])?$",
    ),
    "deduplication-id": OptionHeader("The same id within ten minutes is the same message.", r"^[^:]+$"),
    "content-based-deduplication": OptionHeader(
        "true: the id is made from destination, body and forwarded headers.", _FLAG
    ),
    "callback": OptionHeader("URL that is called with the outcome of every attempt.", _URL),
    "failure-callback": OptionHeader("URL that is called when the message has failed for good.", _URL),
    "header-forward": OptionHeader("true: forward all of the request's headers without a prefix.", _FLAG),
    "redact-fields": OptionHeader(
        "Comma list of body, header and header[Name]: shown as digests, delivered as they are."
    ),
    "queue-name": OptionHeader("The queue that the message goes through.", _NAME),
    "cron": OptionHeader("Cron line, perhaps with CRON_TZ=<zone> in front; makes a schedule of the request."),
    "schedule-id": OptionHeader("The schedule's own id; an existing one is overwritten.", _NAME),
}

# The rest of the name is the caller's. The longest matching prefix decides the meaning of a line.
OPTION_PREFIXES: Final[dict[str, str]] = {
    "failure-callback-": "An option of the failure callback's message: Method, Retries, Forward-<Name> …",
    "callback-": "An option of the callback's message: Method, Timeout, Retries, Label, Forward-<Name> …",
    "forward-": "A header for the destination, under the rest of the name.",
}

# Accepted and neither stored nor forwarded, as by the real service.
IGNORED_PREFIXES: Final = ("telemetry-", "workflow-", "feature-set")
