"""The hosts that real QStash refuses at the publish, because it cannot deliver to them (contract 1.3)."""

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
        """``is_known`` tells of an origin whether something here answers for it: it then counts as public,
        unresolved.
        """
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
    """Resolve by the machine's own resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _address(text: str) -> Address:
    """Return the address. Raise ValueError if it is none."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _kind_of(address: Address) -> str | None:
    """Return why the public cannot reach an address; ``None`` if it may."""
    if address.is_loopback:
        return "loopback"
    return None if address.is_global else "private"
