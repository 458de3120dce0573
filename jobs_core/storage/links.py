"""Signed links, by which anyone may download one file until they expire."""

import hashlib
import hmac
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from jobs_core.settings.settings import Settings

FILES_PATH = "/api/files"


class LinkRejected(Exception):
    """The link is not valid; ``status`` is 403, or 410 when it has expired."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Link:
    """A download link and the time it expires."""

    url: str
    expires_at: datetime


class FileLinks:
    """Makes and checks links. The signature covers the name and the time of expiry."""

    def __init__(self, key: bytes, base_url: str, lifetime: timedelta) -> None:
        self._key = key
        self._base_url = base_url
        self._lifetime = lifetime

    @classmethod
    def of(cls, settings: Settings) -> "FileLinks":
        """Make one from the settings. Without a key of its own, one is derived from the QStash token, which
        is secret already.
        """
        secret = settings.storage_signing_key or settings.qstash_token
        key = hmac.digest(secret.get_secret_value().encode(), b"jobs_core download links", "sha256")
        return cls(key, settings.base_url, timedelta(hours=settings.download_link_hours))

    def make(self, name: str, *, now: datetime, lifetime: timedelta | None = None) -> Link:
        """Return a link to ``name`` that is valid from ``now`` on; whole seconds, rounded up."""
        expires = math.ceil((now + (lifetime or self._lifetime)).timestamp())
        query = urlencode({"expires": expires, "signature": self._sign(name, str(expires))})
        url = f"{self._base_url}{FILES_PATH}/{quote(name)}?{query}"
        return Link(url, datetime.fromtimestamp(expires, now.tzinfo))

    def check(self, name: str, expires: str, signature: str, *, now: datetime) -> None:
        """Raise LinkRejected. The signature is checked first, so that only its holder learns that a link has
        expired.
        """
        if not hmac.compare_digest(self._sign(name, expires).encode(), signature.encode()):
            raise LinkRejected(403, "the link is not one of ours, or was changed")
        if now.timestamp() > int(expires):
            raise LinkRejected(410, "the link has expired; ask for a new one")

    def _sign(self, name: str, expires: str) -> str:
        return hmac.new(self._key, f"{expires}\n{name}".encode(), hashlib.sha256).hexdigest()
