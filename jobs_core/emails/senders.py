"""Sending e-mails: by Resend, by an SMTP server, or, where neither is set, to the log."""

import base64
import logging
import re
import ssl
from collections.abc import Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

import aiosmtplib
import httpx

from jobs_core.emails.addresses import ascii_sender
from jobs_core.emails.message import Email, PermanentEmailError, TemporaryEmailError
from jobs_core.settings.settings import Settings

log: logging.Logger = logging.getLogger(__name__)

DEFAULT_SENDER = "no-reply@localhost"
_RESEND_URL = "https://api.resend.com/emails"
_TIMEOUT_SECONDS = 20.0
_SMTP_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class EmailSender:
    """Sends e-mails. A base class, not a protocol: handlers find their sender by this type."""

    async def send(self, email: Email, *, idempotency_key: str) -> str:
        """Send ``email`` and return the provider's id for it.

        ``idempotency_key`` is the same for every attempt at the same e-mail, so that a retry after a lost
        answer sends no second one.

        Raises:
            TemporaryEmailError: it may work later.
            PermanentEmailError: it never will.
        """
        raise NotImplementedError


def create_sender(settings: Settings) -> EmailSender:
    """Return the sender that the settings configure: Resend before SMTP before the log."""
    if settings.resend_api_key is not None and settings.resend_from_email is not None:
        return ResendSender(settings.resend_api_key.get_secret_value(), sender=settings.resend_from_email)
    sender = settings.resend_from_email or DEFAULT_SENDER
    if settings.smtp_url is not None:
        return SmtpSender(settings.smtp_url.get_secret_value(), sender=sender)
    return ConsoleSender(sender=sender)


class ConsoleSender(EmailSender):
    """Writes e-mails to the log instead of sending them."""

    def __init__(self, *, sender: str = DEFAULT_SENDER) -> None:
        self._sender = sender

    async def send(self, email: Email, *, idempotency_key: str) -> str:
        log.info(
            "e-mail not sent, for neither RESEND_API_KEY nor SMTP_URL is set\nFrom: %s\nTo: %s\nSubject: %s\n\n%s",
            self._sender,
            ", ".join(email.to),
            email.subject,
            email.text,
            extra={"event": "email_printed"},
        )
        return idempotency_key


class SmtpSender(EmailSender):
    """Sends through an SMTP server, with a connection for each e-mail.

    ``url`` is smtp://, smtp+starttls:// or smtps:// with user and password percent-encoded. SMTP has no
    idempotency, but receivers drop a second e-mail with the same Message-ID, so that is made from the key.
    """

    def __init__(
        self, url: str, *, sender: str = DEFAULT_SENDER, tls_context: ssl.SSLContext | None = None
    ) -> None:
        """``tls_context`` is for servers with a certificate of your own; default: the system's trusted ones."""
        parts = urlsplit(url)
        if parts.scheme not in _SMTP_PORTS or not parts.hostname:
            raise ValueError("SMTP_URL must look like smtp://user:password@host:587")
        self._sender = _sender_of(sender)
        self._tls_context = tls_context
        self._host = parts.hostname
        self._port = parts.port or _SMTP_PORTS[parts.scheme]
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._use_tls = parts.scheme == "smtps"
        # Plain smtp:// takes STARTTLS where the server has it; smtp+starttls:// insists.
        self._start_tls = {"smtp": None, "smtp+starttls": True, "smtps": False}[parts.scheme]

    async def send(self, email: Email, *, idempotency_key: str) -> str:
        message = mime(email, sender=self._sender, key=idempotency_key)
        try:
            refused, _ = await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                username=self._username,
                password=self._password,
                use_tls=self._use_tls,
                start_tls=self._start_tls,
                tls_context=self._tls_context,
                timeout=_TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _smtp_error([(each.code, each.message) for each in error.recipients]) from error
        except aiosmtplib.SMTPNotSupported as error:
            raise self._not_supported(email, error) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _smtp_error([(error.code, error.message)]) from error
        except ssl.SSLError as error:
            raise TemporaryEmailError(f"no trusted TLS with {self._host}:{self._port}: {error}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise TemporaryEmailError(
                f"no SMTP server at {self._host}:{self._port}: {error}; is SMTP_URL right?"
            ) from error
        for address, (code, said) in refused.items():
            log.warning(
                "one recipient was refused: %s %s",
                code,
                said,
                extra={"event": "recipient_refused", "to": address},
            )
        return str(message["Message-ID"])

    def _not_supported(
        self, email: Email, error: aiosmtplib.SMTPNotSupported
    ) -> PermanentEmailError | TemporaryEmailError:
        """Return the error for a server without an extension; a non-ASCII address fails for good (RFC 6531, 3.2)."""
        server = f"the SMTP server at {self._host}:{self._port}"
        wide = [address for address in (*email.to, parseaddr(self._sender)[1]) if not address.isascii()]
        if wide and "SMTPUTF8" in str(error):
            return PermanentEmailError(
                f"{server} does not offer SMTPUTF8, which {', '.join(wide)} needs: names beyond ASCII before the @"
            )
        return TemporaryEmailError(f"{server} does not offer what SMTP_URL asks for: {error}")


class ResendSender(EmailSender):
    """Sends through Resend's HTTP API, which has idempotency keys."""

    def __init__(
        self,
        api_key: str,
        *,
        sender: str,
        url: str = _RESEND_URL,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._sender = _sender_of(sender)
        self._url = url
        self._transport = transport
        self._headers = {"Authorization": f"Bearer {api_key}"}

    async def send(self, email: Email, *, idempotency_key: str) -> str:
        body = {
            "from": self._sender,
            "to": list(email.to),
            "subject": email.subject,
            "html": email.html,
            "text": email.text,
            "attachments": [
                {
                    "filename": attached.filename,
                    "content_type": attached.content_type,
                    "content": base64.b64encode(attached.content).decode(),
                }
                for attached in email.attachments
            ],
        }
        try:
            async with httpx.AsyncClient(transport=self._transport, timeout=_TIMEOUT_SECONDS) as client:
                response = await client.post(
                    self._url, json=body, headers={**self._headers, "Idempotency-Key": idempotency_key}
                )
        except httpx.TransportError as error:
            raise TemporaryEmailError(
                f"Resend does not answer: {str(error) or type(error).__name__}"
            ) from error
        if response.is_success:
            return _resend_id(response) or idempotency_key
        raise _resend_error(response)


def _sender_of(setting: str) -> str:
    try:
        return ascii_sender(setting)
    except ValueError as error:
        raise ValueError(f"RESEND_FROM_EMAIL {setting!r} {error}") from None


def mime(email: Email, *, sender: str, key: str) -> EmailMessage:
    """Return the e-mail as SMTP sends it: plain text first, HTML as the better alternative."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(email.to)
    message["Subject"] = email.subject
    domain = sender.rpartition("@")[2].rstrip(">") or "localhost"
    # No automatic answers (RFC 3834), such as absence notices.
    message["Auto-Submitted"] = "auto-generated"
    message["Message-ID"] = f"<{re.sub(r'[^A-Za-z0-9.-]', '-', key)}@{domain}>"
    message.set_content(email.text)
    message.add_alternative(email.html, subtype="html")
    for attached in email.attachments:
        kind, _, subtype = attached.content_type.partition("/")
        message.add_attachment(attached.content, maintype=kind, subtype=subtype, filename=attached.filename)
    return message


def _smtp_error(answers: Sequence[tuple[int, str]]) -> TemporaryEmailError | PermanentEmailError:
    """Return the error: permanent only if every response is. 5xx is permanent, 4xx temporary (RFC 5321, 4.2.1)."""
    said = "; ".join(f"{code} {text}" for code, text in answers)
    if all(code >= 500 for code, _ in answers):
        return PermanentEmailError(f"the SMTP server refused the e-mail: {said}")
    return TemporaryEmailError(f"the SMTP server cannot take the e-mail now: {said}")


def _resend_error(response: httpx.Response) -> TemporaryEmailError | PermanentEmailError:
    said = f"Resend answered {response.status_code}: {response.text[:300]}"
    # 409 is either: an earlier request with this key is under way, or it was for another e-mail.
    # Source: Resend docs, api-reference/errors (read 2026-11).
    is_for_good = response.status_code == 409 and "invalid_idempotent_request" in response.text
    if not is_for_good and (response.status_code in {408, 409, 425, 429} or response.status_code >= 500):
        return TemporaryEmailError(said, retry_after=_seconds_header(response.headers.get("retry-after")))
    return PermanentEmailError(said)


def _resend_id(response: httpx.Response) -> str | None:
    """Return the e-mail's id; it was accepted even if the response cannot be read."""
    try:
        answer = response.json()
    except ValueError:
        return None
    found = answer.get("id") if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None


def _seconds_header(value: str | None) -> timedelta | None:
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return timedelta(seconds=min(int(value), 86_400))
