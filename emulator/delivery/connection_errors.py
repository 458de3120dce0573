"""Explains deliveries without a response: what happened, and what to do about it."""

import errno
import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Return whether ``host`` names this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# The real service's text if no complete response came in time (contract 4.2): apps compare it.
TIMED_OUT = "context deadline exceeded"


def not_connected(url: str, error: OSError, *, is_in_container: bool) -> str:
    """Explain that the connection could not be made."""
    if error.errno == errno.ECONNREFUSED:
        hostname = urlsplit(url).hostname or ""
        is_hint_due = is_in_container and is_loopback(hostname)
        return f"{refused(url)} {_container_hint(url, hostname)}" if is_hint_due else refused(url)
    return f"could not connect to {_host(url)}: {error.strerror or error}"


def went_wrong(url: str, words: str) -> str:
    """Explain that the destination's response is not HTTP; ``words`` say why."""
    return f"{_host(url)} {words}"


def refused(url: str) -> str:
    """Explain that nothing listens there."""
    return f"connection refused by {_host(url)}: nobody listens on that port; is the app running, and there?"


def _container_hint(url: str, hostname: str) -> str:
    outside = _origin(url).replace(hostname, "host.docker.internal")
    return (
        f"(Inside a container {hostname} is the container itself: publish to host.docker.internal, or start with "
        f"--connect-to {_origin(url)}={outside})"
    )


def not_resolved(url: str) -> str:
    """Explain that the host's name is unknown."""
    hostname = urlsplit(url).hostname
    return (
        f"the name {hostname!r} does not resolve; check its spelling, or point it at this machine with "
        f"--connect-to {_origin(url)}=http://127.0.0.1:PORT"
    )


def tls_failed(url: str, error: Exception) -> str:
    """Explain that the TLS handshake or the certificate failed."""
    return (
        f"TLS to {_host(url)} failed: {error}; if the app speaks plain HTTP behind this name, start with "
        f"--connect-to {_origin(url)}=http://127.0.0.1:PORT"
    )


def cut_off(url: str, error: Exception) -> str:
    """Explain that the connection ended before a complete response."""
    return (
        f"{_host(url)} closed the connection before a complete response: {str(error) or type(error).__name__}"
    )


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _origin(url: str) -> str:
    return f"{urlsplit(url).scheme}://{_host(url)}"
