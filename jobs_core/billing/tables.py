"""Customers and subscriptions.

Each group of columns that one kind of event writes carries the stamp of that event (when, rank, event id), so
that an older event which arrives later changes nothing (``billing.ordering``). Amounts are in the currency's
minor unit, as Stripe gives them.
"""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, Column, Index, String, Table
from sqlmodel import Field

from jobs_core.database.tables import BigKey, JobsModel, SubjectId, UtcDateTime, table_of


class Customer(JobsModel, table=True):
    """One customer of the payment provider, and its owner here."""

    __tablename__: ClassVar[str] = "billing_customers"
    __table_args__: ClassVar[tuple[Index, ...]] = (Index("ix_billing_customers_user_id", "user_id"),)

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    customer_id: str = Field(sa_column=Column(String(255), nullable=False, unique=True))

    email: str | None = Field(default=None, sa_column=Column(String(320)))
    name: str | None = Field(default=None, sa_column=Column(String(255)))
    contact_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    contact_rank: int = Field(default=0, nullable=False)
    contact_event_id: str = Field(default="", sa_column=Column(String(255), nullable=False))

    user_id: str | None = Field(default=None, sa_column=Column(SubjectId(255)))
    organization_id: str | None = Field(default=None, sa_column=Column(SubjectId(255)))
    owner_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    owner_rank: int = Field(default=0, nullable=False)
    owner_event_id: str = Field(default="", sa_column=Column(String(255), nullable=False))

    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    updated_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


class Subscription(JobsModel, table=True):
    """One subscription: its state, and how its latest invoice went."""

    __tablename__: ClassVar[str] = "billing_subscriptions"
    __table_args__: ClassVar[tuple[Index, ...]] = (
        Index("ix_billing_subscriptions_customer_id", "customer_id"),
        Index("ix_billing_subscriptions_status", "status"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    subscription_id: str = Field(sa_column=Column(String(255), nullable=False, unique=True))
    customer_id: str | None = Field(default=None, sa_column=Column(String(255)))

    status: str = Field(default="unknown", sa_column=Column(String(32), nullable=False))
    plan_name: str | None = Field(default=None, sa_column=Column(String(255)))
    amount: int | None = Field(default=None, sa_column=Column(BigInteger))  # of one interval, in minor units
    currency: str | None = Field(default=None, sa_column=Column(String(3)))  # lower case
    interval: str | None = Field(default=None, sa_column=Column(String(16)))  # day, week, month, year
    interval_count: int | None = Field(default=None)
    cancel_at_period_end: bool = Field(default=False, nullable=False)
    started_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    trial_end_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    period_end_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    ended_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    state_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    state_rank: int = Field(default=0, nullable=False)
    state_event_id: str = Field(default="", sa_column=Column(String(255), nullable=False))

    payment_status: str | None = Field(default=None, sa_column=Column(String(16)))  # paid, failed
    payment_amount: int | None = Field(default=None, sa_column=Column(BigInteger))  # in minor units
    payment_currency: str | None = Field(default=None, sa_column=Column(String(3)))
    payment_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    payment_rank: int = Field(default=0, nullable=False)
    payment_event_id: str = Field(default="", sa_column=Column(String(255), nullable=False))

    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    updated_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


customers: Table = table_of(Customer)
subscriptions: Table = table_of(Subscription)
