"""Which host names mean this machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether ``host``, a name or an address, is this machine's own."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
