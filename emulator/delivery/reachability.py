"""What real QStash refuses when it is published: hosts that it cannot deliver to (contract 1.3)."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from emulator.errors import InvalidInput
from emulator.wire.destination import origin_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host's name. Raises OSError for a name that has none."""

_REFUSED = "invalid destination url"
# The real service's text names its own name server; applications look at its beginning and its end.
_NAME_SERVER = "127.0.0.53:53"


class Reachability:
    """Refuses loopback, private and unresolvable hosts, as the real service does."""

    def __init__(self, resolve: Resolve, is_known: Callable[[str], bool]) -> None:
        """``is_known`` says of an origin that somebody here answers for it: it counts as public, unresolved."""
        self._resolve = resolve
        self._is_known = is_known

    async def check(self, url: str) -> None:
        """Raise InvalidInput in the real service's words unless it would deliver to ``url``."""
        if self._is_known(origin_of(url)):
            return
        host = urlsplit(url).hostname or ""
        try:
            addresses = [_address(host)]
        except ValueError:
            addresses = [_address(text) for text in await self._addresses_of(host)]
        for address in addresses:
            kind = _kind_of(address)
            if kind is not None:
                raise InvalidInput(f"{_REFUSED}: endpoint resolves to a {kind} address: {address}")

    async def _addresses_of(self, host: str) -> list[str]:
        try:
            found = await self._resolve(host)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise InvalidInput(
                f"{_REFUSED}: unable to resolve host: lookup {host} on {_NAME_SERVER}: no such host"
            )
        return list(found)


async def resolve(host: str) -> Sequence[str]:
    """By the machine's own resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _address(text: str) -> Address:
    """Raises ValueError for what is none."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _kind_of(address: Address) -> str | None:
    """Why nobody outside can reach an address; ``None`` if that is possible."""
    if address.is_loopback:
        return "loopback"
    return None if address.is_global else "private"
