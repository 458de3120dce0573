"""Writes events into the tables, unless newer ones are there.

Every function runs inside a transaction that its caller commits, and locks the row first, so that two events
of one subscription are applied one after the other.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, select, update

from jobs_core.billing.ordering import Stamp, stored_stamp
from jobs_core.billing.tables import customers, subscriptions
from jobs_core.database import dialects


def write_customer(
    connection: Connection,
    customer_id: str,
    group: str,
    stamp: Stamp,
    values: dict[str, Any],
    *,
    now: datetime,
) -> bool:
    """Write one group of a customer's columns (``contact`` or ``owner``). Return false if newer ones are there."""
    return _write(connection, customers, "customer_id", customer_id, group, stamp, values, now)


def write_subscription(
    connection: Connection,
    subscription_id: str,
    group: str,
    stamp: Stamp,
    values: dict[str, Any],
    *,
    now: datetime,
) -> bool:
    """Write one group of a subscription's columns (``state`` or ``payment``). Return false if newer ones are
    there.
    """
    return _write(connection, subscriptions, "subscription_id", subscription_id, group, stamp, values, now)


def find_customer(connection: Connection, customer_id: str | None) -> Row[Any] | None:
    """Return one customer."""
    return connection.execute(select(customers).where(customers.c.customer_id == customer_id)).one_or_none()


def find_subscription(connection: Connection, subscription_id: str | None) -> Row[Any] | None:
    """Return one subscription."""
    columns = subscriptions.c
    return connection.execute(
        select(subscriptions).where(columns.subscription_id == subscription_id)
    ).one_or_none()


def _write(
    connection: Connection,
    table: Table,
    key: str,
    value: str,
    group: str,
    stamp: Stamp,
    values: dict[str, Any],
    now: datetime,
) -> bool:
    fresh = {key: value, "created_at": now, "updated_at": now} | _defaults(table)
    connection.execute(dialects.insert_into(table, connection).on_conflict_do_nothing(), fresh)
    row = connection.execute(select(table).where(table.c[key] == value).with_for_update()).one()
    if not stamp.supersedes(stored_stamp(row, group)):
        return False
    connection.execute(
        update(table).where(table.c[key] == value).values(**values, **stamp.columns(group), updated_at=now)
    )
    return True


def _defaults(table: Table) -> dict[str, Any]:
    """Return a row's values before any event."""
    if table is customers:
        return {"contact_rank": 0, "contact_event_id": "", "owner_rank": 0, "owner_event_id": ""}
    return {
        "status": "unknown",
        "cancel_at_period_end": False,
        "state_rank": 0,
        "state_event_id": "",
        "payment_rank": 0,
        "payment_event_id": "",
    }
