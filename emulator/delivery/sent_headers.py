"""What is kept of a request: its header lines as they went out, secrets redacted as the message asks."""

from emulator.broker.message import Message
from emulator.wire.headers import Headers
from emulator.wire.redaction import parse_redaction


def kept_headers(message: Message, headers: Headers) -> Headers:
    """``headers`` with the values as digests that the message has hidden; those of the server are no secrets of its."""
    redaction = parse_redaction(message.redact_fields)
    if redaction is None:
        return headers
    own = {name.lower() for name, _ in message.headers}
    hidden = redaction.apply_to_headers(headers)
    return tuple(
        shown if sent[0].lower() in own else sent for sent, shown in zip(headers, hidden, strict=True)
    )
