"""Tenants in the store."""

from sqlalchemy import RowMapping, insert, select

from emulator.broker.resources import SigningKeys
from emulator.store.store import SqlStore
from emulator.store.tables import TenantRow, table_of
from emulator.tenants import Credentials, Tenant

_TENANTS = table_of(TenantRow)


def load_tenants(store: SqlStore) -> list[Tenant]:
    """Return all tenants, oldest first, with their present signing keys and the times of their manual clocks."""
    with store.connect() as connection:
        query = select(_TENANTS).order_by(_TENANTS.c.id)
        return [_tenant(row) for row in connection.execute(query).mappings()]


def add_tenants(store: SqlStore, new: list[Credentials]) -> list[Tenant]:
    """Store new tenants."""
    rows = [
        {
            "name": credentials.name,
            "token": credentials.token,
            "read_only_token": credentials.read_only_token,
            "current_key": credentials.keys.current,
            "next_key": credentials.keys.next,
        }
        for credentials in new
    ]
    with store.begin() as connection:
        connection.execute(insert(_TENANTS), rows)
        query = select(_TENANTS).where(_TENANTS.c.token.in_([credentials.token for credentials in new]))
        return [_tenant(row) for row in connection.execute(query.order_by(_TENANTS.c.id)).mappings()]


def _tenant(row: RowMapping) -> Tenant:
    return Tenant(
        id=row["id"],
        name=row["name"],
        token=row["token"],
        read_only_token=row["read_only_token"],
        keys=SigningKeys(row["current_key"], row["next_key"]),
        clock_at=row["clock_at"],
    )
