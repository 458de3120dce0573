"""Tickets on FastAPI: an order is answered at once, and paid for by a job that QStash delivers."""

import os
from dataclasses import dataclass, field

from fastapi import FastAPI, HTTPException, Request
from qstash import AsyncQStash, Receiver
from qstash.errors import SignatureError

PUBLIC_URL = "https://tickets.example.com"


@dataclass
class Bank:
    """Charges cards, and cannot take anything back."""

    charges: list[tuple[str, int]] = field(default_factory=list)
    is_down: bool = False

    def charge(self, customer: str, cents: int) -> None:
        if self.is_down:
            raise HTTPException(503, "the bank does not answer")
        self.charges.append((customer, cents))


def create_app(bank: Bank, *, is_careful: bool = True) -> FastAPI:
    """The shop. A careful one charges once for each message, however often it is delivered."""
    app = FastAPI()
    seen: set[str] = set()

    @app.post("/orders")
    async def order(request: Request) -> dict[str, str]:
        ordered = await request.json()
        await AsyncQStash(os.environ["QSTASH_TOKEN"]).message.publish_json(
            url=f"{PUBLIC_URL}/jobs/charge", body=ordered, label="charge"
        )
        return {"status": "accepted"}

    @app.post("/jobs/charge")
    async def charge(request: Request) -> dict[str, str]:
        body = await request.body()
        verify(request, body)
        message_id = request.headers["upstash-message-id"]
        if is_careful and message_id in seen:
            return {"status": "charged before"}
        ordered = await request.json()
        bank.charge(ordered["customer"], ordered["cents"])
        seen.add(message_id)
        return {"status": "charged"}

    return app


def verify(request: Request, body: bytes) -> None:
    """Raise 401 unless QStash signed this very request."""
    receiver = Receiver(
        current_signing_key=os.environ["QSTASH_CURRENT_SIGNING_KEY"],
        next_signing_key=os.environ["QSTASH_NEXT_SIGNING_KEY"],
    )
    try:
        receiver.verify(
            signature=request.headers.get("upstash-signature", ""),
            body=body.decode(),
            url=f"{PUBLIC_URL}{request.url.path}",
        )
    except SignatureError as error:
        raise HTTPException(401, str(error)) from error
