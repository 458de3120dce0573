"""The stored header lines of a request: as they were sent, with the message's redactions."""

from emulator.broker.message import Message
from emulator.wire.headers import Headers
from emulator.wire.redaction import parse_redaction


def kept_headers(message: Message, headers: Headers) -> Headers:
    """Return ``headers`` with digests for the values that the message redacts; the server's own headers hold
    no secrets.
    """
    redaction = parse_redaction(message.redact_fields)
    if redaction is None:
        return headers
    own = {name.lower() for name, _ in message.headers}
    hidden = redaction.apply_to_headers(headers)
    return tuple(
        shown if sent[0].lower() in own else sent for sent, shown in zip(headers, hidden, strict=True)
    )
