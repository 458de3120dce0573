"""An account's two regions, each with a URL, a token and signing keys of its own.

The variables are those of the vendor's SDK (``@upstash/qstash`` 2.12.0): ``QSTASH_REGION`` names the region that is
published to, ``US_EAST_1_QSTASH_TOKEN`` and so on are the region's values. A delivery names its
region in ``Upstash-Region``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

_OF_A_REGION = ("qstash_url", "qstash_token")


class Region(StrEnum):
    """A region, in the spelling that its variables begin with."""

    EU_CENTRAL_1 = "EU_CENTRAL_1"
    US_EAST_1 = "US_EAST_1"

    def setting(self, name: str) -> str:
        """Return the name of this region's setting for ``name``."""
        return f"{self.value.lower()}_{name}"


def region_of(text: str | None) -> Region | None:
    """Return the region that a variable or a header names, as ``us-east-1`` or ``US_EAST_1``; otherwise ``None``."""
    spelled = (text or "").strip().replace("-", "_").upper()
    return next((region for region in Region if region.value == spelled), None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A region's URL and bearer token."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys that sign one region's deliveries; ``prefix`` is the beginning of their variables' names."""

    current: str = field(repr=False)
    next: str = field(repr=False)
    prefix: str = ""


class RegionCredentials(PydanticBaseSettingsSource):
    """URL and token of the region that ``QSTASH_REGION`` names, instead of ``QSTASH_URL`` and ``QSTASH_TOKEN``.

    Applies only where both are given, by the caller or otherwise. A ``qstash_url`` or ``qstash_token`` that a caller
    passes to the settings comes first. An empty ``QSTASH_REGION`` in the environment is no region, whatever ``.env``
    or the caller says: so a test's emulator is not passed by.
    """

    def __init__(self, settings: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings)
        self._sources = sources

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        if os.environ.get("QSTASH_REGION") == "":
            return {"qstash_region": None}
        given: dict[str, Any] = {}
        for source in reversed(self._sources):
            given |= source()
        return _credentials(given)


def _credentials(given: Mapping[str, Any]) -> dict[str, Any]:
    region = region_of(str(given.get("qstash_region") or ""))
    if region is None:
        return {}
    found = {name: given.get(region.setting(name)) for name in _OF_A_REGION}
    return found if all(found.values()) else {}
