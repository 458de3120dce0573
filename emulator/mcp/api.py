"""Calls of the emulator's HTTP API, for the tools."""

from collections.abc import Mapping
from typing import Any

import httpx


class ApiError(Exception):
    """The server refused the call; the text is the server's."""


class Api:
    """Calls of one tenant. ``transport`` is the app itself inside the server, otherwise a socket."""

    def __init__(self, url: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url: str = url.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=self.url,
            # As bytes: httpx takes text for ASCII.
            headers={b"Authorization": f"Bearer {token}".encode()},
            transport=transport,
            timeout=600,
            trust_env=False,
            verify=not self.url.startswith("http:"),
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: str | None = None,
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON answer of one call. Parameters that are ``None`` are left out. Raises ApiError."""
        given = {name: str(value) for name, value in (params or {}).items() if value is not None}
        lines = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        body: dict[str, Any] = {"json": json} if json is not None else {"content": content or ""}
        try:
            response = await self._client.request(method, path, params=given or None, headers=lines, **body)
        except httpx.TransportError as error:
            raise ApiError(
                f"nothing answers at {self.url} ({error}); start it with: qstash-emulator dev"
            ) from None
        try:
            value = response.json() if response.content else {}
        except ValueError:
            value = {"error": response.text[:500]}
        if response.is_success:
            return value
        words = value.get("error") if isinstance(value, dict) else None
        raise ApiError(f"{words or 'the server refused'} (status {response.status_code})")
