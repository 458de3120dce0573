"""Reports: the figures are right, each form holds them, and each recipient gets a mail of their own."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pypdf
import pytest
from sqlalchemy import Connection

from jobs_core import JobStatus, JobValidationError, default_registry
from jobs_core.billing.tables import subscriptions
from jobs_core.database.tables import executions
from jobs_core.reports.html_json import render_html, render_report
from jobs_core.reports.kinds import monthly_revenue, steps
from jobs_core.reports.model import Chart, Figure, Period, Report, Series, Table

MAY = {"from": "2026-05-01", "to": "2026-05-31"}
FIRST = datetime(2026, 5, 1, tzinfo=UTC)


def executed(number: int, **changed: Any) -> dict[str, Any]:
    started = FIRST + timedelta(days=number % 31, hours=1)
    return {
        "job_id": f"j{number}",
        "job_type": "send-email" if number % 3 else "export-data",
        "status": "failed" if number % 10 == 0 else "completed",
        "payload": {},
        "options": {},
        "retry_count": 1 if number % 10 == 0 else 0,
        "max_retries": 3,
        "attempt_count": 1,
        "run": 0,
        "user_id": number % 4,
        "organization_id": "acme" if number % 2 else None,
        "created_at": started - timedelta(seconds=1),
        "started_at": started,
        "completed_at": started + timedelta(milliseconds=500),
        "updated_at": started,
    } | changed


def subscribed(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "subscription_id": name,
        "status": "active",
        "plan_name": "Team",
        "amount": 1200,
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "cancel_at_period_end": False,
        "started_at": FIRST - timedelta(days=9),
        "ended_at": None,
        "state_rank": 0,
        "state_event_id": "",
        "payment_status": "paid",
        "payment_rank": 0,
        "payment_event_id": "",
        "created_at": FIRST,
        "updated_at": FIRST,
    } | changed


async def insert(system: Any, table: Any, rows: list[dict[str, Any]]) -> None:
    def write(connection: Connection) -> None:
        connection.execute(table.insert(), rows)

    await system.dispatcher.database.write(write)


async def report(system: Any, **payload: Any) -> tuple[Any, bytes]:
    """The job's record and the file it made."""
    record = await system.run("generate-report", {"dateRange": MAY, "format": "json"} | payload)
    assert record.status is JobStatus.COMPLETED, record.error
    url = record.result["downloadUrl"].removeprefix("https://app.example.com")
    answer = await system.client.get(url)
    assert answer.status_code == 200
    return record, answer.content


def figures(content: bytes) -> dict[str, Any]:
    return {figure["label"]: figure["value"] for figure in json.loads(content)["figures"]}


async def test_analytics_counts_the_jobs_of_the_period_alone(system: Any) -> None:
    outside = [
        executed(100, created_at=FIRST - timedelta(seconds=2)),
        executed(101, created_at=FIRST + timedelta(31)),
    ]
    pending = executed(102, status="pending", completed_at=None, started_at=None)
    await insert(system, executions, [executed(number) for number in range(40)] + outside + [pending])
    _, content = await report(system, reportType="analytics")
    found = figures(content)
    assert found["Jobs"] == 41
    assert (found["Completed"], found["Failed"], found["Retries"]) == (36, 4, 4)
    assert found["Failure rate"] == pytest.approx(0.1)
    assert found["Average duration"] == pytest.approx(0.5, abs=0.01)
    told = json.loads(content)
    assert told["period"] == {"from": "2026-05-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"}
    over_time, by_type = told["charts"]
    assert over_time["labels"][0] == "2026-05-01"
    assert len(over_time["labels"]) == 31
    assert sum(sum(series["values"]) for series in over_time["series"]) == 41
    assert dict(zip(by_type["labels"], by_type["series"][0]["values"], strict=True)) == {
        "send-email": 26,
        "export-data": 15,
    }


async def test_usage_names_the_largest_organizations_and_users(system: Any) -> None:
    await insert(system, executions, [executed(number) for number in range(30)])
    _, content = await report(system, reportType="usage")
    tables = {table["title"]: table["rows"] for table in json.loads(content)["tables"]}
    assert [row[:2] for row in tables["Largest organizations"]] == [["(none)", 15], ["acme", 15]] or [
        row[:2] for row in tables["Largest organizations"]
    ] == [["acme", 15], ["(none)", 15]]
    assert sorted(row[:2] for row in tables["Largest users"]) == [["0", 8], ["1", 8], ["2", 7], ["3", 7]]


async def test_billing_tells_revenue_by_currency_in_whole_minor_units(system: Any) -> None:
    rows = [
        subscribed("a"),
        subscribed("b", amount=12_000, interval="year"),
        subscribed("c", amount=500, currency="jpy", payment_status="failed"),
        subscribed("d", status="trialing"),
        subscribed("e", status="canceled", ended_at=FIRST + timedelta(days=3)),
        subscribed("f", started_at=FIRST + timedelta(days=5)),
        subscribed("g", started_at=FIRST + timedelta(days=40)),
        subscribed("h", status="unknown", started_at=None),
    ]
    await insert(system, subscriptions, rows)
    _, content = await report(system, reportType="billing")
    assert figures(content) == {
        "Subscriptions": 5,
        "Monthly revenue (JPY)": 500,
        "Monthly revenue (USD)": 1200 + 1000 + 1200,
        "Started": 1,
        "Ended": 1,
        "Failed payments": 1,
    }
    shown = {figure["label"]: figure["shown"] for figure in json.loads(content)["figures"]}
    assert (shown["Monthly revenue (USD)"], shown["Monthly revenue (JPY)"]) == ("USD 34.00", "JPY 500")


@pytest.mark.parametrize("group_by", ["jobType", "status", "userId", "organizationId", "day"])
async def test_a_custom_report_counts_what_it_is_asked_for(system: Any, group_by: str) -> None:
    await insert(system, executions, [executed(number) for number in range(20)])
    custom = {"groupBy": group_by, "jobTypes": ["send-email"], "statuses": ["completed"]}
    _, content = await report(system, reportType="custom", custom=custom, title="Mails")
    told = json.loads(content)
    assert (told["title"], figures(content)["Jobs"]) == ("Mails", 12)
    assert sum(row[1] for row in told["tables"][0]["rows"]) == 12


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_pdf_opened_again_has_the_text_and_the_figures(system: Any) -> None:
    await insert(system, executions, [executed(number) for number in range(40)])
    record, content = await report(system, reportType="analytics", format="pdf")
    assert record.result["path"].endswith(".pdf")
    reader = pypdf.PdfReader(io.BytesIO(content))
    assert reader.metadata is not None
    assert reader.metadata.title == "Job analytics: 1 May 2026 to 31 May 2026"
    text = "\n".join(page.extract_text() for page in reader.pages)
    for expected in (
        "Job analytics",
        "1 May 2026 to 31 May 2026",
        "Failure rate",
        "10.0%",
        "500 ms",
        "send-email",
    ):
        assert expected in text
    assert "Jobs over time" in text


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_each_recipient_gets_a_mail_of_their_own_with_the_report_attached(system: Any) -> None:
    await insert(system, executions, [executed(number) for number in range(10)])
    recipients = ["ada@example.com", "bob@example.com", "ada@example.com"]
    record, content = await report(system, reportType="analytics", format="pdf", recipients=recipients)
    children = await system.children(record.job_id)
    assert {child.status for child in children} == {JobStatus.COMPLETED}
    assert sorted(mail["To"] for mail in system.mailbox.received) == ["ada@example.com", "bob@example.com"]
    mail = system.mailbox.received[0]
    assert mail["Subject"] == "Job analytics: 1 May 2026 to 31 May 2026"
    (attachment,) = mail.iter_attachments()
    assert attachment.get_content_type() == "application/pdf"
    assert attachment.get_filename() == "analytics-2026-05-01.pdf"
    assert attachment.get_content() == content
    body = mail.get_body(("plain",))
    assert body is not None
    assert "Failure rate: 10.0%" in body.get_content()
    assert record.result["downloadUrl"] in body.get_content()


@pytest.mark.parametrize("kind", ["analytics", "usage", "billing", "custom"])
async def test_a_report_on_nothing_is_a_report(system: Any, kind: str) -> None:
    for form in ("html", "pdf"):
        _, content = await report(
            system, reportType=kind, format=form, dateRange={"from": "2020-01-01", "to": "2020-12-31"}
        )
        assert content


def test_a_long_period_is_told_by_the_month() -> None:
    year = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert steps(year) == [f"2026-{month:02}" for month in range(1, 13)]
    assert str(year) == "1 January 2026 to 31 December 2026"


def test_text_in_reports_is_escaped_and_letters_no_font_knows_do_not_stop_a_pdf() -> None:
    period = Period(FIRST, FIRST + timedelta(days=1))
    odd = "<script>alert(1)</script> & 数"
    chart = Chart(odd, "bars", [odd], (Series(odd, [3]),))
    made = Report(
        "usage",
        odd,
        period,
        FIRST,
        odd,
        (Figure(odd, 1, odd),),
        (chart,),
        (Table(odd, (odd, odd), [(odd, 1)]),),
    )
    html = render_html(made)
    assert "<script>" not in html
    assert "数" in html
    assert render_report(made, "pdf").startswith(b"%PDF")
    assert str(period) == "1 May 2026"


def test_charts_say_every_value_to_pointers_and_their_gist_to_who_cannot_see_them() -> None:
    period = Period(FIRST, FIRST + timedelta(days=2))
    chart = Chart(
        "Jobs", "stacked", ["2026-05-01", "2026-05-02"], (Series("Done", [1, 2]), Series("Failed", [0, 4]))
    )
    html = render_html(Report("usage", "Usage", period, FIRST, "", (), (chart,)))
    assert html.count(" title=") == 3
    assert 'title="2026-05-02: Failed 4"' in html
    assert 'aria-label="Jobs: 2 columns, the highest 6"' in html


def test_what_a_month_brings_is_rounded_once() -> None:
    class Row:
        def __init__(self, **values: Any) -> None:
            self.__dict__.update(values)

    weekly = Row(status="active", currency="usd", amount=100, interval="week", interval_count=1)
    assert monthly_revenue([weekly, weekly, weekly]) == {"usd": 1300}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reportType": "sales"}, "reportType: Input should be 'analytics', 'usage', 'billing' or 'custom'"),
        ({"dateRange": {"from": "2026-05-02", "to": "2026-05-01"}}, "must go forwards"),
        ({"dateRange": {"from": "2026-05-02T00:00:00", "to": "2026-06-01"}}, "dateRange.from"),
        ({"dateRange": {"from": "0001-01-01", "to": "9999-12-31"}}, "dateRange"),
        ({"recipients": ["nobody"]}, "must be an e-mail address"),
        ({"format": "docx"}, "format"),
        ({"custom": {"groupBy": "status"}}, "custom describes a report of type custom"),
    ],
)
def test_a_mistake_is_found_when_enqueueing(changed: dict[str, Any], said: str) -> None:
    payload = {"reportType": "usage", "dateRange": MAY, "format": "pdf"}
    with pytest.raises(JobValidationError, match=said):
        default_registry().get("generate-report").parse(payload | changed)
