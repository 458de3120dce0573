"""An e-mail that is ready to be sent, and the errors of sending one."""

from dataclasses import dataclass
from datetime import timedelta

from jobs_core.emails.addresses import check_address


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attached file. ``content_type`` is such as ``application/pdf``."""

    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Email:
    """One e-mail with both of its parts.

    Raises:
        PermanentEmailError: one of ``to`` is not a plain address; nothing is sent to a part of it.
    """

    to: tuple[str, ...]
    subject: str
    html: str
    text: str
    preheader: str = ""  # hidden at the top of the HTML, for the inbox's list
    attachments: tuple[Attachment, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "to", tuple(map(_plain, self.to)))


def _plain(address: str) -> str:
    try:
        return check_address(address)
    except ValueError as error:
        raise PermanentEmailError(f"{address!r} {error}") from None


class EmailError(Exception):
    """The e-mail was not sent."""


class TemporaryEmailError(EmailError):
    """It may be sent later. ``retry_after`` is the wait that the provider asks for, if it does."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentEmailError(EmailError):
    """It can never be sent as it is."""
