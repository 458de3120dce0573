"""The hosts that real QStash refuses at publish, because it cannot deliver to them (contract 1.3)."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from emulator.errors import InvalidInput
from emulator.wire.destination import origin_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a host's name. Raises OSError for a name without any."""

_REFUSED = "invalid destination url"
# The real service's text names its name server; applications compare its beginning and its end.
_NAME_SERVER = "127.0.0.53:53"


class Reachability:
    """Refuses loopback, private and unresolvable hosts, as the real service does."""

    def __init__(self, resolve: Resolve, is_known: Callable[[str], bool]) -> None:
        """``is_known`` returns whether something on this machine answers for an origin, which then counts as public
        without being resolved.
        """
        self._resolve = resolve
        self._is_known = is_known

    async def check(self, url: str) -> None:
        """Raise InvalidInput with the real service's text unless it would deliver to ``url``."""
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
    """Resolve with the machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _address(text: str) -> Address:
    """Return the address. Raises ValueError if ``text`` is not an address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _kind_of(address: Address) -> str | None:
    """Return the kind of an address that is not public, or ``None`` for a public one."""
    if address.is_loopback:
        return "loopback"
    return None if address.is_global else "private"
