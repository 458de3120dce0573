"""A shop whose orders are confirmed by a job: Flask, under any WSGI server.

gunicorn --threads 8 'flask_shop:create_shop()'
"""

from datetime import timedelta

from flask import Flask, request
from sqlalchemy import Connection, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from jobs_core import Job, Payload, Registry, Settings, job
from jobs_core.wsgi import JobsMiddleware


class Base(DeclarativeBase):
    """The shop's own tables, in the same database as the jobs."""


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    is_confirmed: Mapped[bool] = mapped_column(default=False)


class ConfirmOrder(Payload):
    """Which order to confirm."""

    order_id: int


@job(
    "confirm-order",
    endpoint="/api/jobs/confirm-order",
    retries=3,
    timeout=timedelta(seconds=10),
    description="Confirm an order.",
)
def confirm_order(payload: ConfirmOrder, job: Job) -> None:
    """Confirm it in the transaction that completes the job, so that it happens once."""

    def confirm(connection: Connection) -> None:
        connection.execute(update(Order).where(Order.id == payload.order_id).values(is_confirmed=True))

    job.on_completion(confirm)


def create_shop(settings: Settings | None = None) -> Flask:
    """The application; ``extensions["jobs"]`` is the middleware that works for it."""
    shop = Flask(__name__)
    middleware = JobsMiddleware(shop.wsgi_app, settings, registry=Registry([confirm_order]))
    shop.wsgi_app = middleware  # type: ignore[method-assign]
    shop.extensions["jobs"] = middleware
    jobs = middleware.jobs
    engine = jobs.dispatcher.database.engine
    Base.metadata.create_all(engine)

    @shop.post("/orders")
    def place_order() -> tuple[dict[str, object], int]:
        with Session(engine) as session, session.begin():
            order = Order(item=request.get_json()["item"])
            session.add(order)
            session.flush()
            # In the same transaction: there is no order without its job, and no job without its order.
            job_id = jobs.enqueue(confirm_order, {"order_id": order.id}, session=session)
            return {"orderId": order.id, "jobId": job_id}, 202

    @shop.get("/orders/<int:order_id>")
    def show_order(order_id: int) -> dict[str, object]:
        with Session(engine) as session:
            order = session.get_one(Order, order_id)
            return {"item": order.item, "isConfirmed": order.is_confirmed}

    return shop
