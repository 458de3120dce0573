"""A newsletter on Flask: a welcome the day after one signs up, and an issue every Monday at nine in Berlin."""

import os

from flask import Flask, Response, request
from qstash import QStash, Receiver
from qstash.errors import SignatureError

PUBLIC_URL = "https://news.example.com"


def create_app() -> Flask:
    """The app; ``app.sent`` lists what it mailed, to whom."""
    app = Flask("newsletter")
    app.sent = []  # type: ignore[attr-defined]
    readers: list[str] = []

    @app.post("/readers")
    def sign_up() -> Response:
        address = request.get_json()["address"]
        readers.append(address)
        QStash(os.environ["QSTASH_TOKEN"]).message.publish_json(
            url=f"{PUBLIC_URL}/jobs/welcome", body={"address": address}, delay="1d", retries=1
        )
        return Response(status=202)

    @app.post("/jobs/welcome")
    @signed
    def welcome() -> Response:
        app.sent.append(("welcome", request.get_json()["address"]))  # type: ignore[attr-defined]
        return Response(status=204)

    @app.post("/jobs/issue")
    @signed
    def issue() -> Response:
        app.sent.extend(("issue", address) for address in readers)  # type: ignore[attr-defined]
        return Response(status=204)

    return app


def schedule_issues() -> None:
    """What a deployment runs once."""
    QStash(os.environ["QSTASH_TOKEN"]).schedule.create(
        destination=f"{PUBLIC_URL}/jobs/issue", cron="CRON_TZ=Europe/Berlin 0 9 * * MON", schedule_id="issues"
    )


def signed(view):
    """Answer 401 unless QStash signed the request."""

    def checked() -> Response:
        receiver = Receiver(
            current_signing_key=os.environ["QSTASH_CURRENT_SIGNING_KEY"],
            next_signing_key=os.environ["QSTASH_NEXT_SIGNING_KEY"],
        )
        try:
            receiver.verify(
                signature=request.headers.get("Upstash-Signature", ""),
                body=request.get_data(as_text=True),
                url=f"{PUBLIC_URL}{request.path}",
            )
        except SignatureError as error:
            return Response(str(error), status=401)
        return view()

    checked.__name__ = view.__name__
    return checked
