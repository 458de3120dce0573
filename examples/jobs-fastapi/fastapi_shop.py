"""A shop whose orders are confirmed by a job: FastAPI, with the worker mounted under /background.

BASE_URL=http://127.0.0.1:8000/background uvicorn --factory fastapi_shop:create_shop
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from sqlalchemy import Connection, update
from sqlmodel import Field, Session, SQLModel

from jobs_core import Job, JobDispatcher, Payload, Registry, create_app, job, running


class Order(SQLModel, table=True):
    """The shop's own table, in the same database as the jobs."""

    id: int | None = Field(default=None, primary_key=True)
    item: str
    is_confirmed: bool = False


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
async def confirm_order(payload: ConfirmOrder, job: Job) -> None:
    """Confirm it in the transaction that completes the job, so that it happens once."""

    def confirm(connection: Connection) -> None:
        order = SQLModel.metadata.tables["order"]
        connection.execute(update(order).where(order.c.id == payload.order_id).values(is_confirmed=True))

    job.on_completion(confirm)


def create_shop(dispatcher: JobDispatcher | None = None) -> FastAPI:
    """The application. Without a dispatcher, one is made from the environment."""
    jobs = dispatcher or JobDispatcher(registry=Registry([confirm_order]))
    worker = create_app(dispatcher=jobs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        SQLModel.metadata.create_all(jobs.database.engine)
        async with running(worker):  # a mounted app gets no lifespan events of its own
            yield
        if dispatcher is None:
            await jobs.aclose()

    shop = FastAPI(lifespan=lifespan)
    shop.mount("/background", worker)

    @shop.post("/orders", status_code=202)
    async def place_order(order: Order) -> dict[str, int | str | None]:
        with Session(jobs.database.engine) as session:
            session.add(order)
            session.flush()
            # In the same transaction: there is no order without its job, and no job without its order.
            job_id = await jobs.enqueue(confirm_order, {"order_id": order.id}, session=session)
            session.commit()
            return {"orderId": order.id, "jobId": job_id}

    @shop.get("/orders/{order_id}")
    def show_order(order_id: int) -> Order | None:
        with Session(jobs.database.engine) as session:
            return session.get(Order, order_id)

    return shop
