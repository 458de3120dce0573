"""The channels that alerts are sent on. A channel is anything with this one method; add your own to ``Watch``."""

import logging
from collections.abc import Sequence
from html import escape
from typing import Protocol

import httpx

from jobs_core.emails.message import Email
from jobs_core.emails.senders import EmailSender
from jobs_core.monitoring.alerts import Alert

log: logging.Logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0


class AlertChannel(Protocol):
    """Sends alerts to somebody."""

    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        """Send which alerts are new, and which (by name) are over.

        ``key`` is the same when the same news is sent again after an error. May raise: the next check then
        sends it again.
        """
        ...


class LogChannel:
    """Writes a line for each, new alerts at error level."""

    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        for alert in raised:
            log.error("alert: %s", alert.text, extra={"event": "alert_raised", "alert": alert.name})
        for name in resolved:
            log.warning("over: %s", name, extra={"event": "alert_resolved", "alert": name})


class EmailChannel:
    """Sends an e-mail to configured addresses."""

    def __init__(self, sender: EmailSender, to: Sequence[str]) -> None:
        self._sender = sender
        self._to = tuple(to)

    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        lines = [*(alert.text for alert in raised), *(f"over: {name}" for name in resolved)]
        subject = f"Jobs: {raised[0].text}" if raised else f"Jobs: over: {', '.join(resolved)}"
        await self._sender.send(
            Email(
                to=self._to,
                subject=subject[:200],
                text="\n".join(lines) + "\n",
                html="".join(f"<p>{escape(line)}</p>" for line in lines),
            ),
            idempotency_key=key,
        )


class WebhookChannel:
    """Posts JSON to a URL: ``{"text", "raised": [{"name", "text"}], "resolved": [name]}``.

    The incoming webhooks of chat services show ``text`` alone.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = url
        self._transport = transport

    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        lines = [*(alert.text for alert in raised), *(f"over: {name}" for name in resolved)]
        body = {
            "text": "\n".join(lines),
            "raised": [{"name": alert.name, "text": alert.text} for alert in raised],
            "resolved": list(resolved),
        }
        async with httpx.AsyncClient(transport=self._transport, timeout=_TIMEOUT_SECONDS) as client:
            response = await client.post(self._url, json=body, headers={"Idempotency-Key": key})
        response.raise_for_status()
