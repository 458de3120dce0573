"""How people hear of alerts. A channel is anything with this one method; add your own to ``Watch``."""

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
    """Tells somebody."""

    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        """Say what is newly wrong, and which alerts (by name) are over.

        ``key`` is the same when the same news is told again after an error. May raise: it is told once more at
        the next check.
        """
        ...


class LogChannel:
    """Writes a line for each, at error level for what is wrong."""

    async def tell(self, raised: Sequence[Alert], resolved: Sequence[str], *, key: str) -> None:
        for alert in raised:
            log.error("alert: %s", alert.text, extra={"event": "alert_raised", "alert": alert.name})
        for name in resolved:
            log.warning("over: %s", name, extra={"event": "alert_resolved", "alert": name})


class EmailChannel:
    """Sends an e-mail to some people."""

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

    ``text`` alone is what the incoming webhooks of chat services show.
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
