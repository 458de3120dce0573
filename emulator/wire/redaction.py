"""``Upstash-Redact-Fields``: the parts that are hidden wherever the API shows a message (contract 3.8).

A redacted value reads ``REDACTED:<sha256 hex of the original bytes>``. Deliveries use the originals.
"""

import hashlib
import re
from dataclasses import dataclass

from emulator.errors import InvalidInput
from emulator.wire.headers import Headers

_ONE_HEADER = re.compile(r"headers?\[([^\[\]]+)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """The hidden parts; ``header_names`` are in lower case."""

    body: bool = False
    all_headers: bool = False
    header_names: frozenset[str] = frozenset()

    def apply_to_headers(self, headers: Headers) -> Headers:
        """Return the header lines for display, with digests instead of hidden values."""
        return tuple(
            (name, redacted(value.encode()) if self._hides(name) else value) for name, value in headers
        )

    def apply_to_body(self, body: bytes) -> bytes:
        """Return the body for display; an empty body is not replaced."""
        return redacted(body).encode() if self.body and body else body

    def _hides(self, name: str) -> bool:
        return self.all_headers or name.lower() in self.header_names


def redacted(original: bytes) -> str:
    """Return ``REDACTED:`` and the SHA-256 of ``original``, in hexadecimal."""
    return f"REDACTED:{hashlib.sha256(original).hexdigest()}"


def parse_redaction(text: str | None, *, field: str = "Upstash-Redact-Fields") -> Redaction | None:
    """Read a comma list of ``body``, ``header`` and ``header[Name]``; ``None`` if nothing is hidden."""
    tokens = [token.strip() for token in (text or "").split(",") if token.strip()]
    if not tokens:
        return None
    body = all_headers = False
    names: set[str] = set()
    for token in tokens:
        one_header = _ONE_HEADER.fullmatch(token)
        if token.lower() == "body":
            body = True
        elif token.lower() in ("header", "headers"):
            all_headers = True
        elif one_header:
            names.add(one_header[1].strip().lower())
        else:
            raise InvalidInput(f"invalid {field} {token!r}: expected body, header or header[Name]")
    return Redaction(body=body, all_headers=all_headers, header_names=frozenset(names))
