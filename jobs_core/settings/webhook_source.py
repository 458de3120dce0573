"""A webhook source as the settings describe it; ``webhooks.verifiers`` verifies by it."""

import base64
import binascii
import re
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic.alias_generators import to_camel

_SOURCE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_BUILT_IN = frozenset({"stripe", "github", "resend"})


class WebhookSource(BaseModel):
    """A further source, as ``WEBHOOK_SOURCES`` describes it; camelCase in JSON.

    ``standard`` needs the secret alone. ``hmac`` is told what is signed (``{body}`` and ``{timestamp}``), with
    which hash, in which encoding and where the signature stands. Event and id come from a header or from a
    (dotted) field of the body; without an id the body's hash takes its place.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    scheme: Literal["hmac", "standard"] = "hmac"
    secret: SecretStr = Field(min_length=8)
    signature_header: str = "X-Signature-256"
    prefix: str = ""  # before the signature, such as "sha256="
    algorithm: Literal["sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    signed: str = "{body}"  # or "{timestamp}.{body}"
    timestamp_header: str | None = None  # unix seconds
    event_header: str | None = None
    event_field: str = "type"
    id_header: str | None = None
    id_field: str | None = "id"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.signed.count("{body}") != 1 or self.signed.count("{timestamp}") > 1:
            raise ValueError("signed must contain {body} once and {timestamp} at most once")
        if ("{timestamp}" in self.signed) != (self.timestamp_header is not None):
            raise ValueError("give timestampHeader, and {timestamp} in signed, or neither")
        if self.scheme == "standard":
            check_standard_secret(self.secret.get_secret_value())
        return self


def check_source_name(name: str) -> str:
    """Return a valid name, which stands in paths and as a source of jobs. Raise ValueError if it is not valid."""
    if not _SOURCE_NAME.fullmatch(name) or name in _BUILT_IN:
        raise ValueError(
            f"{name!r} cannot name a source: lower case letters, digits and '-', and not built in"
        )
    return name


def check_standard_secret(secret: str) -> None:
    """Raise ValueError if the secret cannot be one of Standard Webhooks."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError("the secret of a standard webhook is whsec_ and base64") from None
