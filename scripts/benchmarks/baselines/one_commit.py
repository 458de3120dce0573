"""The same endpoint with one ORM session and one commit for each message, on the same kind of file."""

import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


class Message(SQLModel, table=True):
    """The few columns of a message that a delivery needs."""

    id: str = Field(primary_key=True)
    url: str
    headers: str
    body: bytes
    state: str
    due_at: int = Field(index=True)


engine = create_async_engine(f"sqlite+aiosqlite:///{sys.argv[2]}", connect_args={"timeout": 60})


@event.listens_for(engine.sync_engine, "connect")
def _tune(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


async def publish(request: Request) -> JSONResponse:
    body = await request.body()
    options = {name: value for name, value in request.headers.items() if name.startswith("upstash-")}
    message_id = f"msg_{secrets.token_hex(20)}"
    async with AsyncSession(engine) as session:
        url = request.path_params["rest"]
        session.add(
            Message(id=message_id, url=url, headers=str(options), body=body, state="CREATED", due_at=0)
        )
        await session.commit()
    return JSONResponse({"messageId": message_id})


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    yield
    await engine.dispose()


app = Starlette(routes=[Route("/v2/publish/{rest:path}", publish, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
