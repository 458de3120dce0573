"""Read fields of Stripe's objects, in the shapes of its API versions. Pure.

Objects come as plain dictionaries, unverified beyond the signature, so every field may be absent or of another
type; what cannot be read is ``None``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs_core.model.envelope import Subject

Json = dict[str, Any]
_LAST_SECOND = 253_402_300_799  # of the year 9999


@dataclass(frozen=True, slots=True)
class Plan:
    """The price of a subscription for one interval, in minor units."""

    name: str | None
    amount: int | None
    currency: str | None
    interval: str | None
    interval_count: int | None


@dataclass(frozen=True, slots=True)
class Owner:
    """The user and organization that a customer belongs to."""

    user_id: Subject | None
    organization_id: Subject | None


def text(value: Json, name: str, limit: int = 255) -> str | None:
    """Return a text field, cut to ``limit`` characters; ``None`` if it is no text."""
    found = value.get(name)
    return found[:limit].replace("\0", "") if isinstance(found, str) and found else None


def number(value: Json, name: str, *, bits: int = 64) -> int | None:
    """Return a field that is a whole number of so many bits, as its column has; else ``None``."""
    found = value.get(name)
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if _fits(found, bits) else None


def _fits(whole: int, bits: int) -> bool:
    return -(1 << bits - 1) <= whole < 1 << bits - 1


def instant(value: Json, name: str) -> datetime | None:
    """Return a field in unix seconds as an instant; ``None`` if it is none."""
    seconds = number(value, name)
    return (
        None if seconds is None or not 0 <= seconds <= _LAST_SECOND else datetime.fromtimestamp(seconds, UTC)
    )


def part(value: Json, *names: str) -> Json:
    """Return an object inside, or an empty one."""
    found: Any = value
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def reference(value: Json, name: str) -> str | None:
    """Return the id of another object, given as its id or expanded."""
    found = value.get(name)
    return text(found, "id") if isinstance(found, dict) else text(value, name)


def subscription_of_invoice(invoice: Json) -> str | None:
    """Return an invoice's subscription: in ``parent`` from API version 2025-03-31 on, at the top level before."""
    return reference(invoice, "subscription") or reference(
        part(invoice, "parent", "subscription_details"), "subscription"
    )


def period_end(subscription: Json) -> datetime | None:
    """Return the end of the period: in the items from API version 2025-03-31 on, at the top level before."""
    ends = [end for item in _items(subscription) if (end := instant(item, "current_period_end")) is not None]
    return instant(subscription, "current_period_end") or max(ends, default=None)


def plan(subscription: Json) -> Plan:
    """Return the sum of the items, their names joined. The first item's interval is taken for all."""
    items = _items(subscription)
    prices = [part(item, "price") or part(item, "plan") for item in items]
    if not prices:
        return Plan(None, None, None, None, None)
    first = prices[0]
    recurring = part(first, "recurring") or first
    names = [name for price in prices if (name := _price_name(price)) is not None]
    amounts = [_item_amount(item, price) for item, price in zip(items, prices, strict=True)]
    amount = None if None in amounts else sum(amount for amount in amounts if amount is not None)
    return Plan(
        name=(" + ".join(names))[:200] or None,
        amount=amount if amount is not None and _fits(amount, 64) else None,
        currency=(text(first, "currency", 3) or text(subscription, "currency", 3) or "").lower() or None,
        interval=text(recurring, "interval", 16),
        interval_count=number(recurring, "interval_count", bits=32),
    )


def owner(value: Json) -> Owner:
    """Return the owner, from ``client_reference_id`` or the metadata ``userId`` and ``organizationId``.

    Stripe keeps them as text, so a whole number is read as an int.
    """
    metadata = part(value, "metadata")
    user = text(value, "client_reference_id") or text(metadata, "userId") or text(metadata, "user_id")
    organization = text(metadata, "organizationId") or text(metadata, "organization_id")
    return Owner(_subject(user), _subject(organization))


def _items(subscription: Json) -> list[Json]:
    found = part(subscription, "items").get("data")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _price_name(price: Json) -> str | None:
    return text(price, "nickname") or text(part(price, "product"), "name") or text(price, "lookup_key")


def _item_amount(item: Json, price: Json) -> int | None:
    amount, quantity = number(price, "unit_amount"), number(item, "quantity")
    if amount is None:
        amount = number(price, "amount")
    return None if amount is None else amount * (1 if quantity is None else quantity)


def _subject(value: str | None) -> Subject | None:
    if value is None:
        return None
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else value[:250]
