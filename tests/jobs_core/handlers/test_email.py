"""E-mail the whole way, by a real SMTP server and by a server that answers as Resend does."""

import asyncio
import json
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from jobs_core import JobStatus, JobValidationError, Resources
from jobs_core.emails import sending
from jobs_core.emails.catalog import Brand
from jobs_core.emails.message import Attachment, PermanentEmailError, TemporaryEmailError
from jobs_core.emails.previews import SAMPLES, preview
from jobs_core.emails.senders import ConsoleSender, EmailSender, ResendSender, SmtpSender

WELCOME = {"template": "welcome", "to": "ada@example.com", "data": {"recipientName": "Ada"}}
SEVEN = [
    "welcome",
    "passwordReset",
    "passwordChanged",
    "emailChange",
    "teamInvitation",
    "subscriptionCreated",
    "paymentFailed",
]
CERTIFICATES = Path(__file__).parent / "certificates"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_each_template_arrives_with_both_bodies_and_the_headers_that_mail_needs(system: Any) -> None:
    for name in SEVEN:
        data = SAMPLES[name].model_dump(mode="json", by_alias=True)
        record = await system.run(
            "send-email", {"template": name, "to": ["ada@example.com", "bob@example.com"], "data": data}
        )
        assert record.status is JobStatus.COMPLETED, record.error
        mail = system.mailbox.received[-1]
        expected = preview(name, Brand("Acme"))
        assert mail["Subject"] == expected.subject
        assert (mail["From"], mail["To"]) == (
            "Acme <hello@app.example.com>",
            "ada@example.com, bob@example.com",
        )
        assert mail["Message-ID"] == f"<{record.job_id}@app.example.com>" == record.result["providerId"]
        assert (mail["MIME-Version"], mail["Auto-Submitted"]) == ("1.0", "auto-generated")
        assert mail.get_content_type() == "multipart/alternative"
        plain, html = mail.iter_parts()
        assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
        assert plain.get_content_charset() == html.get_content_charset() == "utf-8"
        assert plain.get_content().replace("\r\n", "\n") == expected.text
        assert html.get_content().replace("\r\n", "\n") == expected.html
        assert all(len(line) <= 998 for line in mail.as_bytes().splitlines())
    assert len(system.mailbox.received) == len(SEVEN)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_mail_server_that_is_busy_is_tried_again_and_one_that_refuses_is_not(system: Any) -> None:
    system.mailbox.answer = "451 4.3.0 try later"
    record = await system.run("send-email", WELCOME)
    assert (record.status, record.retry_count) == (JobStatus.PENDING, 1)
    system.mailbox.answer = "250 OK"
    await system.harness.run_until_idle()
    assert (await system.dispatcher.get(record.job_id)).status is JobStatus.COMPLETED
    assert len(system.mailbox.received) == 1

    system.mailbox.answer = "554 5.7.1 no"
    record = await system.run("send-email", WELCOME)
    assert (record.status, len(record.attempts)) == (JobStatus.FAILED, 1)
    assert "554 5.7.1 no" in (record.error or "")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_idempotency_key_of_a_job_sends_one_mail(system: Any) -> None:
    for _ in range(3):
        await system.run("send-email", WELCOME, idempotency_key="signup-1")
    assert len(system.mailbox.received) == 1


# --- TLS and authentication


@dataclass
class SecureServer:
    """Address of a mail server with TLS and a login, and the names that logged in."""

    port: int = 0
    logins: list[str] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, mechanism: str, given: Any
    ) -> AuthResult:
        name, password = given.login.decode(), given.password.decode()
        self.logins.append(name)
        is_right = (name, password) == ("ada@x", "p:ss word")
        return AuthResult(success=is_right, handled=is_right)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.received.append(envelope.content)
        return "250 OK"


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and that of a client who trusts it."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return server, ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")


@pytest.fixture(params=["smtps", "smtp+starttls"])
async def secure(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, SecureServer]]:
    server_context, _ = contexts()
    made, loop = SecureServer(), asyncio.get_running_loop()
    is_wrapped = request.param == "smtps"

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # that a login without TLS is unwise: it does not see what wraps it
            return SMTP(
                made,
                loop=loop,
                authenticator=made.authenticate,
                auth_required=True,
                auth_require_tls=not is_wrapped,
                tls_context=None if is_wrapped else server_context,
                require_starttls=not is_wrapped,
            )

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=server_context if is_wrapped else None)
    made.port = server.sockets[0].getsockname()[1]
    yield request.param, made
    server.close()
    await server.wait_closed()


async def test_mail_goes_over_tls_after_a_login(secure: tuple[str, SecureServer]) -> None:
    scheme, server = secure
    _, trusting = contexts()
    url = f"{scheme}://ada%40x:p%3Ass%20word@127.0.0.1:{server.port}"
    await SmtpSender(url, tls_context=trusting).send(preview("welcome", Brand()), idempotency_key="k")
    assert len(server.received) == 1
    assert server.logins == ["ada@x"]


async def test_a_wrong_password_is_permanent(secure: tuple[str, SecureServer]) -> None:
    scheme, server = secure
    _, trusting = contexts()
    with pytest.raises(PermanentEmailError, match="535"):
        await SmtpSender(f"{scheme}://ada%40x:wrong@127.0.0.1:{server.port}", tls_context=trusting).send(
            preview("welcome", Brand()), idempotency_key="k"
        )


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(secure: tuple[str, SecureServer]) -> None:
    scheme, server = secure
    with pytest.raises(TemporaryEmailError):
        await SmtpSender(f"{scheme}://a:b@127.0.0.1:{server.port}").send(
            preview("welcome", Brand()), idempotency_key="k"
        )
    assert server.logins == []


# --- Resend

ANSWERS = {
    "ok": b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"id":"re_1"}',
    "not json": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
    "rate limit": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
    "invalid": b'HTTP/1.1 422 Unprocessable\r\nContent-Length: 27\r\n\r\n{"name":"validation_error"}',
    "broken": b"HTTP/1.1 500 Internal\r\nContent-Length: 0\r\n\r\n",
    "under way": b'HTTP/1.1 409 C\r\nContent-Length: 41\r\n\r\n{"name":"concurrent_idempotent_requests"}',
    "other mail": b'HTTP/1.1 409 C\r\nContent-Length: 37\r\n\r\n{"name":"invalid_idempotent_request"}',
    "nothing": b"",
}


@dataclass
class ResendShaped:
    """Answers as it is told, and keeps what it was sent."""

    url: str = ""
    answers: list[str] = field(default_factory=list)
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in head.splitlines()[1:] if line)
        }
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.requests.append((headers, body))
        writer.write(ANSWERS[self.answers.pop(0)])
        writer.close()


@pytest.fixture
async def resend() -> AsyncIterator[ResendShaped]:
    made = ResendShaped()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/emails"
    yield made
    server.close()
    await server.wait_closed()


@pytest.fixture
async def resending(whole_system: Any, resend: ResendShaped) -> AsyncIterator[Any]:
    sender = ResendSender("re_key", sender="Acme <hello@app.example.com>", url=resend.url)
    async with whole_system(resources=Resources().provide(EmailSender, sender)) as system:
        yield system


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("answer", "status", "code", "wait"),
    [
        ("ok", JobStatus.COMPLETED, 200, None),
        ("not json", JobStatus.COMPLETED, 200, None),
        ("rate limit", JobStatus.PENDING, 503, 7),
        ("broken", JobStatus.PENDING, 500, 12.18),
        ("under way", JobStatus.PENDING, 500, 12.18),
        ("nothing", JobStatus.PENDING, 500, 12.18),
        ("invalid", JobStatus.FAILED, 489, None),
        ("other mail", JobStatus.FAILED, 489, None),
    ],
)
async def test_each_answer_of_resend_leads_to_the_right_retry_or_end(
    resending: Any, resend: ResendShaped, answer: str, status: JobStatus, code: int, wait: float | None
) -> None:
    resend.answers = [answer]
    record = await resending.run("send-email", WELCOME)
    assert record.status is status, record.error
    assert [attempt.status_code for attempt in record.attempts] == [code]
    if wait is not None:
        waits = (record.next_attempt_at - record.attempts[0].started_at).total_seconds()
        assert waits == pytest.approx(wait, abs=0.01)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_retry_after_a_lost_answer_sends_the_same_key_and_the_same_mail(
    resending: Any, resend: ResendShaped
) -> None:
    resend.answers = ["nothing", "broken", "ok"]
    record = await resending.run("send-email", WELCOME)
    await resending.harness.run_until_idle()
    record = await resending.dispatcher.get(record.job_id)
    assert (record.status, record.retry_count) == (JobStatus.COMPLETED, 2)
    assert record.result["providerId"] == "re_1"
    assert {headers["idempotency-key"] for headers, _ in resend.requests} == {record.job_id}
    assert len(resend.requests) == 3
    bodies = [body for _, body in resend.requests]
    assert bodies[0] == bodies[1] == bodies[2]
    headers, body = resend.requests[0]
    assert headers["authorization"] == "Bearer re_key"
    assert (body["from"], body["to"], body["subject"]) == (
        "Acme <hello@app.example.com>",
        ["ada@example.com"],
        "Welcome, Ada!",
    )
    assert "Your account is ready" in body["text"]
    assert body["html"].startswith("<!doctype html>")


async def test_resend_gets_attachments_in_base64(resend: ResendShaped) -> None:
    resend.answers = ["ok"]
    mail = replace(preview("welcome", Brand()), attachments=(Attachment("a.csv", "text/csv", b"x,y"),))
    await ResendSender("re_key", sender="a@b.c", url=resend.url).send(mail, idempotency_key="k")
    ((_, body),) = resend.requests
    assert body["attachments"] == [{"filename": "a.csv", "content_type": "text/csv", "content": "eCx5"}]


# --- the functions


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_each_email_has_a_function_that_sends_and_one_that_enqueues(system: Any) -> None:
    sender = SmtpSender(system.dispatcher.settings.smtp_url.get_secret_value(), sender="a@b.c")
    for name in SEVEN:
        data = SAMPLES[name].model_dump()
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        send = getattr(sending, f"send_{snake}_email")
        enqueue = getattr(sending, f"send_{snake}_email_async")
        await send(sender, "ada@example.com", **data, idempotency_key=f"now-{name}")
        sent = system.mailbox.received[-1]
        job_id = await enqueue(system.dispatcher, ["ada@example.com"], **data, user_id=7)
        await system.settle()
        assert (await system.dispatcher.get(job_id)).user_id == 7
        assert system.mailbox.received[-1]["Subject"] == sent["Subject"] == preview(name, Brand()).subject
    assert len(system.mailbox.received) == 2 * len(SEVEN)


async def test_what_cannot_be_sent_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(JobValidationError, match="must be an e-mail address"):
        await sending.send_welcome_email(ConsoleSender(), "nobody", recipient_name="Ada")
    with pytest.raises(JobValidationError, match="reset_url"):
        await sending.send_password_reset_email(
            ConsoleSender(), "a@b.c", recipient_name="Ada", reset_url="javascript:x"
        )


async def test_the_console_sender_says_that_nothing_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    answer = await sending.send_welcome_email(
        ConsoleSender(), "ada@example.com", recipient_name="Ada", idempotency_key="k"
    )
    assert answer == "k"
    assert "e-mail not sent" in caplog.text
    assert "Welcome, Ada!" in caplog.text
