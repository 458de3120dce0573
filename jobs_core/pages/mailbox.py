"""A folder of received mail (``*.eml``), written by the development mail server."""

import email
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\.eml")
_NEWEST = 200


@dataclass(frozen=True, slots=True)
class Attached:
    """A mail's attachment; ``size`` in bytes."""

    filename: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Mail:
    """One received mail."""

    name: str
    received_at: datetime
    sender: str
    recipient: str
    subject: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str | None
    attachments: tuple[Attached, ...]


class Mailbox:
    """Reads a folder of mail. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self) -> list[Mail]:
        """Return the newest mails, newest first."""
        paths = [path for path in self._folder.glob("*.eml") if _NAME.fullmatch(path.name)]
        paths.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
        return [_read(path) for path in paths[:_NEWEST]]

    def find(self, name: str) -> Mail | None:
        """Return one mail by its file's name."""
        path = self._folder / name
        return _read(path) if _NAME.fullmatch(name) and path.is_file() else None


def _read(path: Path) -> Mail:
    message = email.message_from_bytes(path.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    return Mail(
        name=path.name,
        received_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        sender=str(message["From"] or ""),
        recipient=str(message["To"] or ""),
        subject=str(message["Subject"] or "(no subject)"),
        headers=tuple((name, str(value)) for name, value in message.items()),
        text=_body(message, "plain") or "",
        html=_body(message, "html"),
        attachments=tuple(_attached(part) for part in message.iter_attachments()),
    )


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    if part is None:
        return None
    try:
        return str(part.get_content())
    except (LookupError, UnicodeError):  # a character set that nobody knows
        payload = part.get_payload(decode=True)
        return payload.decode(errors="replace") if isinstance(payload, bytes) else ""


def _attached(part: object) -> Attached:
    assert isinstance(part, EmailMessage)
    payload = part.get_payload(decode=True)
    size = len(payload) if isinstance(payload, bytes) else 0
    return Attached(part.get_filename() or "(no name)", part.get_content_type(), size)
