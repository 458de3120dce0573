"""E-mail: rendered, sent to a real SMTP server, and errors told apart."""

import asyncio
import email
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import select

from jobs_core import (
    JobDispatcher,
    JobStatus,
    JobValidationError,
    Resources,
    Settings,
    create_app,
    default_registry,
)
from jobs_core.emails.addresses import check_address
from jobs_core.emails.catalog import TEMPLATES, Brand, find_template, parse_data, render
from jobs_core.emails.deliveries import record_sent, record_status, status_of
from jobs_core.emails.message import Email, PermanentEmailError, TemporaryEmailError
from jobs_core.emails.previews import SAMPLES, preview
from jobs_core.emails.senders import ConsoleSender, EmailSender, ResendSender, SmtpSender, create_sender
from jobs_core.emails.tables import email_deliveries

# They differ in what they say of how many rows a statement wrote.
EVERY_DRIVER = pytest.mark.parametrize("database_kind", ["sqlite", "postgresql", "psycopg 2"])
WELCOME = {"template": "welcome", "to": "ada@example.com", "data": {"recipientName": "Ada"}}
EMAIL = Email(("ada@example.com",), "Hi", "<p>Hi</p>", "Hi")


class Mailbox:
    """Mail server's memory: the mails that it received, and the answers that it is to give."""

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []
        self.answer = "250 OK"
        self.recipient_answer = "250 OK"

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.recipient_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipient_answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        if self.answer.startswith("250"):
            self.received.append(email.message_from_bytes(content, policy=default))
        return self.answer


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def smtp_url(mailbox: Mailbox) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_has_both_parts_that_say_the_same(name: str) -> None:
    mail = preview(name, Brand("Acme"))
    data = SAMPLES[name].model_dump()
    assert mail.html.startswith("<!doctype html>")
    for value in (value for value in data.values() if isinstance(value, str)):
        assert value in mail.text or value in mail.subject, value
        assert value.replace("&", "&amp;") in mail.html, value
    assert "with Acme" in mail.text or name in {"teamInvitation", "reportReady"}
    assert "{{" not in mail.html + mail.text
    assert max(map(len, mail.text.splitlines())) <= 200


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_is_readable_where_clients_drop_the_style_element(name: str) -> None:
    html = preview(name, Brand("Acme")).html
    body = html.partition("</head>")[2]
    for element in re.findall(r"<(?:h1|p|a|body|td class)[^>]*>", body):
        assert "style=" in element, element
    assert "<img" not in html
    assert "<script" not in html
    assert "prefers-color-scheme: dark" in html
    assert '<meta name="color-scheme" content="light dark">' in html
    # The preheader comes first in the body, hidden.
    assert body.index("display:none") < body.index("<table")


def test_the_wire_is_camel_case_and_unknown_fields_are_refused() -> None:
    parse = default_registry().get("send-email").parse
    payload = {"template": "teamInvitation", "to": "ada@example.com"}
    data = SAMPLES["teamInvitation"].model_dump(by_alias=True)
    assert set(data) == {"recipientName", "inviterName", "organizationName", "invitationUrl"}
    parse(payload | {"data": data})
    with pytest.raises(JobValidationError, match=r"invitationUrl: Field required"):
        parse(payload | {"data": {"recipientName": "Ada", "inviterName": "C", "organizationName": "O"}})


@pytest.mark.parametrize("url", ["javascript:alert(1)", "dashboard", "//x", "data:text/html,x", "https://"])
def test_links_lead_to_the_web_alone(url: str) -> None:
    with pytest.raises(JobValidationError, match="resetUrl"):
        default_registry().get("send-email").parse(
            {"template": "passwordReset", "to": "a@b.c", "data": {"recipientName": "Ada", "resetUrl": url}}
        )


def test_html_is_escaped_text_is_not_and_a_subject_stays_one_line() -> None:
    template = find_template("welcome")
    mail = render(template, parse_data(template, {"recipientName": "<b>A</b>\r\nBcc: x@y.z"}), to=("a@b.c",))
    assert "<b>" not in mail.html
    assert "<b>A</b>" in mail.text
    assert mail.subject == "Welcome, <b>A</b> Bcc: x@y.z!"


async def test_a_welcome_email_arrives(
    dispatcher: JobDispatcher, app: Any, mailbox: Mailbox, smtp_url: str, qstash: Any, clock: Any
) -> None:
    settings = Settings(
        database_url=dispatcher.settings.database_url,
        base_url=dispatcher.settings.base_url,
        smtp_url=SecretStr(smtp_url),
        resend_from_email="App <hello@app.example.com>",
    )
    async with JobDispatcher(
        settings, registry=default_registry(), clock=clock, transport=qstash.transport()
    ) as mailing:
        job_id = await mailing.enqueue("send-email", WELCOME)
        asgi = create_app(dispatcher=mailing)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://x") as app.client:
            assert (await app.deliver(qstash.of(job_id)[0])).status_code == 200
        record = await mailing.get(job_id)
    assert record.status is JobStatus.COMPLETED
    (mail,) = mailbox.received
    assert (mail["From"], mail["To"], mail["Subject"]) == (
        "App <hello@app.example.com>",
        "ada@example.com",
        "Welcome, Ada!",
    )
    assert mail["Message-ID"] == f"<{job_id}@app.example.com>"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [("451 try later", TemporaryEmailError), ("554 no", PermanentEmailError)],
)
@pytest.mark.parametrize("stage", ["answer", "recipient_answer"])
async def test_smtp_errors_are_temporary_or_permanent(
    mailbox: Mailbox, smtp_url: str, stage: str, answer: str, error: type[Exception]
) -> None:
    setattr(mailbox, stage, answer)
    with pytest.raises(error, match=answer.split(maxsplit=1)[0]):
        await SmtpSender(smtp_url).send(EMAIL, idempotency_key="k")


async def test_a_mail_server_that_is_not_there_is_temporary() -> None:
    with pytest.raises(TemporaryEmailError, match="is SMTP_URL right"):
        await SmtpSender("smtp://127.0.0.1:1").send(EMAIL, idempotency_key="k")


def test_a_wrong_smtp_url_is_found_at_start() -> None:
    with pytest.raises(ValueError, match="SMTP_URL must look like"):
        SmtpSender("mail.example.com:25")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, PermanentEmailError),
        (422, PermanentEmailError),
        (409, TemporaryEmailError),
        (429, TemporaryEmailError),
        (500, TemporaryEmailError),
    ],
)
async def test_resends_errors_are_temporary_or_permanent(status: int, error: type[Exception]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, headers={"Retry-After": "7"}))
    with pytest.raises(error) as caught:
        await ResendSender("re_1", sender="a@b.c", transport=transport).send(EMAIL, idempotency_key="k")
    if isinstance(caught.value, TemporaryEmailError):
        assert caught.value.retry_after is not None


async def test_resend_gets_the_idempotency_key() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id": "re_mail"})

    sender = ResendSender("re_1", sender="a@b.c", transport=httpx.MockTransport(answer))
    assert await sender.send(EMAIL, idempotency_key="the job") == "re_mail"
    assert seen[0].headers["idempotency-key"] == "the job"


@pytest.mark.parametrize(
    ("error", "status", "recorded"),
    [
        (PermanentEmailError("bad address"), 489, JobStatus.FAILED),
        (TemporaryEmailError("down"), 500, JobStatus.PENDING),
        (TemporaryEmailError("slow down", retry_after=timedelta(seconds=9)), 503, JobStatus.PENDING),
    ],
)
async def test_what_a_sender_says_decides_whether_the_job_is_retried(
    settings: Settings, app: Any, qstash: Any, error: Exception, status: int, recorded: JobStatus
) -> None:
    class Failing(EmailSender):
        async def send(self, email: Email, *, idempotency_key: str) -> str:
            raise error

    async with JobDispatcher(settings, registry=default_registry(), transport=qstash.transport()) as mailing:
        job_id = await mailing.enqueue("send-email", WELCOME)
        resources = Resources().provide(EmailSender, Failing())
        asgi = create_app(dispatcher=mailing, resources=resources)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://x") as app.client:
            answer = await app.deliver(qstash.of(job_id)[0])
        assert answer.status_code == status
        assert (await mailing.get(job_id)).status is recorded


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"template": "wellcome"}, "unknown template 'wellcome'; known: emailChange"),
        ({"to": "ada"}, "must be an e-mail address"),
        ({"to": []}, "to: "),
        ({"data": {}}, "recipientName: Field required"),
        ({"data": {"recipientName": "Ada", "typo": 1}}, "typo: "),
    ],
)
def test_a_mistake_is_found_when_enqueueing(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(JobValidationError, match=said):
        default_registry().get("send-email").parse(WELCOME | changed)


def test_snake_case_data_will_do_too() -> None:
    default_registry().get("send-email").parse(WELCOME | {"data": {"recipient_name": "Ada"}})


def test_the_sender_is_chosen_by_the_settings() -> None:
    assert isinstance(create_sender(Settings()), ConsoleSender)
    assert isinstance(create_sender(Settings(smtp_url=SecretStr("smtp://x"))), SmtpSender)
    resend = Settings(
        resend_api_key=SecretStr("re"), resend_from_email="a@b.c", smtp_url=SecretStr("smtp://x")
    )
    assert isinstance(create_sender(resend), ResendSender)


@pytest.mark.parametrize(
    "address",
    [
        "a:b@example.com",  # RFC 5322: the group "a", whose member is b@example.com
        "a:b@example.com;",
        "a(comment)@example.com",
        "ada@example.com(comment)",
        "(comment)ada@example.com",
        "<@relay.example:ada@example.com>",
        '"a b"@example.com',
        "ada@[127.0.0.1]",
        "ada\\@example.com",
        "ada@example.com\n.evil.example",
        "ada@example..com",
        ".ada@example.com",
        "ada@example.com,eve@example.com",
        "=?utf-8?q?eve=40example.org?=@example.com\x00",
    ],
)
def test_an_address_that_a_header_may_read_as_another_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must be an e-mail address"):
        check_address(address)
    with pytest.raises(PermanentEmailError, match="must be an e-mail address"):
        Email((address,), "Hi", "<p>Hi</p>", "Hi")


@given(st.text(alphabet=st.sampled_from(list("ab.:;()<>[]\"\\,@ \t\n-_+'é")), min_size=1, max_size=24))
def test_a_taken_address_is_the_one_mailbox_that_the_header_names(address: str) -> None:
    try:
        taken = check_address(address)
    except ValueError:
        return
    message = EmailMessage()
    message["To"] = taken
    assert [each.addr_spec for each in message["To"].addresses] == [taken]
    assert getaddresses([taken]) == [("", taken)]


# Published pairs: RFC 3492, 7.1 and RFC 5891's examples by way of IANA's test domains (https://www.iana.org/domains/idn-test).
@pytest.mark.parametrize(
    ("domain", "in_ascii"),
    [
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("Παράδειγμα.δοκιμή", "xn--hxajbheg2az3al.xn--jxalpdlp"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("example.com", "example.com"),
    ],
)
def test_a_domain_beyond_ascii_is_looked_up_as_punycode(domain: str, in_ascii: str) -> None:
    assert check_address(f"ada@{domain}") == f"ada@{in_ascii}"
    assert Email((f"ada@{domain}",), "Hi", "<p>Hi</p>", "Hi").to == (f"ada@{in_ascii}",)


def test_a_domain_that_no_server_can_look_up_is_refused() -> None:
    with pytest.raises(ValueError, match="is no domain"):
        check_address(f"ada@{'ü' * 63}.example")


async def test_a_server_without_smtputf8_is_named_for_an_address_that_needs_it(
    mailbox: Mailbox, smtp_url: str
) -> None:
    email = Email(("grüße@example.com",), "Hi", "<p>Hi</p>", "Hi")
    with pytest.raises(PermanentEmailError, match=r"127\.0\.0\.1:\d+ does not offer SMTPUTF8, which grüße@"):
        await SmtpSender(smtp_url).send(email, idempotency_key="k")
    assert mailbox.received == []


async def test_a_senders_domain_beyond_ascii_is_sent_as_punycode(mailbox: Mailbox, smtp_url: str) -> None:
    sender = SmtpSender(smtp_url, sender="Grüße <hello@BÜCHER.example>")
    await sender.send(EMAIL, idempotency_key="k")
    (mail,) = mailbox.received
    (named,) = mail["From"].addresses
    assert (named.display_name, named.addr_spec) == ("Grüße", "hello@xn--bcher-kva.example")
    assert mail["Message-ID"] == "<k@xn--bcher-kva.example>"


async def test_a_sender_is_not_blamed_for_a_name_beyond_ascii_beside_its_address(
    mailbox: Mailbox, smtp_url: str
) -> None:
    email = Email(("grüße@example.com",), "Hi", "<p>Hi</p>", "Hi")
    with pytest.raises(PermanentEmailError, match=r"which grüße@example\.com needs"):
        await SmtpSender(smtp_url, sender="Ü <hello@bücher.example>").send(email, idempotency_key="k")


def test_a_senders_domain_that_no_server_can_look_up_is_refused() -> None:
    with pytest.raises(ValueError, match=r"RESEND_FROM_EMAIL .* is no domain"):
        ResendSender("re", sender=f"ada@{'ü' * 63}.example")


@EVERY_DRIVER
async def test_what_the_provider_says_after_the_sending_wins(dispatcher: JobDispatcher, clock: Any) -> None:
    now = clock.now()

    def write(connection: Any) -> tuple[bool, str | None]:
        record_sent(connection, "re_7", job_id="j", template="welcome", recipients=["a@b.c"], now=now)
        applied = record_status(connection, "re_7", "bounced", at=now - timedelta(seconds=1), now=now)
        return applied, status_of(connection, "re_7")

    assert await dispatcher.database.write(write) == (True, "bounced")


@EVERY_DRIVER
async def test_our_own_sending_does_not_hide_a_quicker_webhook(dispatcher: JobDispatcher, clock: Any) -> None:
    now = clock.now()

    def write(connection: Any) -> tuple[bool, str | None, str | None]:
        applied = record_status(connection, "re_8", "delivered", at=now, now=now)
        record_sent(connection, "re_8", job_id="j", template="welcome", recipients=["a@b.c"], now=now)
        row = connection.execute(select(email_deliveries.c.job_id)).one()
        return applied, status_of(connection, "re_8"), row.job_id

    assert await dispatcher.database.write(write) == (True, "delivered", "j")
