"""Exports: the same rows in either kind of file, in bounded memory, harmless to open, behind links that expire."""

import csv
import io
import os
import subprocess
import sys
import tracemalloc
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from jobs_core import JobStatus
from jobs_core.billing.tables import customers, subscriptions
from jobs_core.exports.cells import csv_text, is_dangerous, neutralised
from jobs_core.exports.entities import ExportRefusedError, default_entities
from jobs_core.exports.writers import XlsxWriter
from jobs_core.handlers import export
from jobs_core.storage.files import LocalStorage, StoredFileNotFoundError, check_name
from jobs_core.storage.links import FileLinks, LinkRejected

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def customer_rows(count: int, **changed: Any) -> list[dict[str, Any]]:
    fresh = {"contact_rank": 0, "contact_event_id": "", "owner_rank": 0, "owner_event_id": ""}
    return [
        {"customer_id": f"cus_{number}", "name": f"Customer {number}", "email": f"c{number}@example.com"}
        | {"user_id": number, "organization_id": "acme", "created_at": NOW, "updated_at": NOW}
        | fresh
        | changed
        for number in range(count)
    ]


async def insert(system: Any, table: Any, rows: list[dict[str, Any]]) -> None:
    def write(connection: Connection) -> None:
        connection.execute(table.insert(), rows)

    await system.dispatcher.database.write(write)


async def download(system: Any, record: Any) -> bytes:
    url = record.result["downloadUrl"].removeprefix("https://app.example.com")
    answer = await system.client.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.headers["x-content-type-options"] == "nosniff"
    content: bytes = answer.content
    return content


async def test_csv_and_excel_hold_the_same_rows(system: Any) -> None:
    await insert(system, customers, customer_rows(2_500))
    csv_record = await system.run("export-data", {"entityType": "customers"})
    xlsx_record = await system.run("export-data", {"entityType": "customers", "format": "xlsx"})
    assert csv_record.status is xlsx_record.status is JobStatus.COMPLETED, xlsx_record.error
    assert csv_record.result["rows"] == xlsx_record.result["rows"] == 2_500
    assert (csv_record.progress, csv_record.progress_note) == (1.0, "2,500 of 2,500 rows")

    content = await download(system, csv_record)
    assert len(content) == csv_record.result["bytes"]
    lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
    book = openpyxl.load_workbook(io.BytesIO(await download(system, xlsx_record)), read_only=True)
    cells = list(book.worksheets[0].iter_rows(values_only=True))
    assert len(lines) == len(cells) == 2_501
    assert lines[0] == list(cells[0]) == ["Customer", "Name", "E-mail", "User", "Organization", "Since (UTC)"]
    for line, row in zip(lines[1:], cells[1:], strict=True):
        assert line[:5] == [str(value) for value in row[:5]]
        assert (line[5], row[5]) == ("2026-06-01T00:00:00.000Z", datetime(2026, 6, 1))  # noqa: DTZ001 -- Excel's
    book.close()


async def test_filters_choose_rows_and_amounts_are_in_major_units(system: Any) -> None:
    fresh = {"state_rank": 0, "state_event_id": "", "payment_rank": 0, "payment_event_id": ""}
    common = fresh | {"cancel_at_period_end": False, "created_at": NOW, "updated_at": NOW}
    rows = [
        {"subscription_id": "a", "status": "active", "amount": 1999, "currency": "usd", "started_at": NOW},
        {"subscription_id": "b", "status": "active", "amount": 500, "currency": "jpy", "started_at": NOW},
        {"subscription_id": "c", "status": "canceled", "amount": 5, "currency": "usd", "started_at": NOW},
        {
            "subscription_id": "d",
            "status": "active",
            "amount": 5,
            "currency": "usd",
            "started_at": NOW - timedelta(1),
        },
    ]
    await insert(system, subscriptions, [row | common for row in rows])
    filters = {"status": ["active", "trialing"], "createdAfter": "2026-06-01T00:00:00Z"}
    record = await system.run("export-data", {"entityType": "subscriptions", "filters": filters})
    lines = list(csv.DictReader(io.StringIO((await download(system, record)).decode())))
    assert [(line["Subscription"], line["Amount"], line["Currency"]) for line in lines] == [
        ("a", "19.99", "usd"),
        ("b", "500", "jpy"),
    ]


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_export_of_nothing_is_a_file_with_headings(system: Any) -> None:
    for kind in ("csv", "xlsx"):
        record = await system.run("export-data", {"entityType": "customers", "format": kind})
        assert (record.status, record.result["rows"]) == (JobStatus.COMPLETED, 0)
        assert await download(system, record)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"entityType": "passwords"}, "known: customers, email-deliveries, jobs"),
        (
            {"entityType": "jobs", "filters": {"payload": "x"}},
            "cannot be filtered by 'payload'; known: status",
        ),
        ({"entityType": "jobs", "filters": {"createdAfter": "yesterday"}}, "must be an instant with a zone"),
        ({"entityType": "jobs", "filters": {"status": {"a": 1}}}, "filter status must be"),
        ({"entityType": "jobs", "filters": {"status": []}}, "filter status must be"),
    ],
)
async def test_what_cannot_be_exported_fails_for_good_and_says_what_can(
    system: Any, payload: dict[str, Any], said: str
) -> None:
    record = await system.run("export-data", payload)
    assert record.status is JobStatus.FAILED
    assert said in (record.error or "")
    assert len(record.attempts) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_formulas_are_harmless_in_either_kind_of_file(system: Any) -> None:
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "plain", "a,b\n=c"]
    rows = [row | {"name": text} for row, text in zip(customer_rows(len(texts)), texts, strict=True)]
    await insert(system, customers, rows)
    record = await system.run("export-data", {"entityType": "customers"})
    lines = list(csv.DictReader(io.StringIO((await download(system, record)).decode(), newline="")))
    assert [line["Name"] for line in lines] == ["'" + text for text in texts[:7]] + texts[7:]

    record = await system.run("export-data", {"entityType": "customers", "format": "xlsx"})
    book = openpyxl.load_workbook(io.BytesIO(await download(system, record)))
    cells = [row[1] for row in book.worksheets[0].iter_rows(min_row=2)]
    assert [cell.value for cell in cells] == texts
    assert {cell.data_type for cell in cells} == {"s"}  # text, none of them "f", a formula
    assert [bool(cell.quotePrefix) for cell in cells] == [True] * 7 + [False] * 2


@given(st.text(max_size=8))
def test_no_csv_text_begins_a_formula(text: str) -> None:
    assert not is_dangerous(neutralised(text))
    assert neutralised(text).removeprefix("'") == text.removeprefix("'") or not is_dangerous(text)


def test_numbers_are_not_text() -> None:
    assert [csv_text(value) for value in (-5, -1.5, Decimal("-0.10"), True, None, {"a": [1]})] == [
        "-5",
        "-1.5",
        "-0.10",
        "true",
        "",
        '{"a": [1]}',
    ]


def test_what_excel_cannot_hold_becomes_text_and_full_sheets_are_continued(tmp_path: Path) -> None:
    path = tmp_path / "odd.xlsx"
    writer = XlsxWriter(path, ["Value"], sheet_rows=4)
    odd = [
        float("nan"),
        float("inf"),
        1 << 60,
        datetime(1, 1, 1, tzinfo=UTC),
        "x" * 40_000,
        "a\x00\x07b",
        -3.5,
    ]
    writer.write([[value] for value in odd])
    writer.close()
    book = openpyxl.load_workbook(path)
    assert [sheet.max_row for sheet in book.worksheets] == [4, 4, 2]
    assert [sheet["A1"].value for sheet in book.worksheets] == ["Value"] * 3
    values = [row[0] for sheet in book.worksheets for row in sheet.iter_rows(min_row=2, values_only=True)]
    assert values[:3] == ["nan", "inf", str(1 << 60)]
    assert len(str(values[4])) == 32_767
    assert values[6] == -3.5


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
async def test_memory_holds_a_page_and_does_not_grow_with_the_rows(
    system: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE_ROWS", 100)

    async def peak() -> int:
        tracemalloc.start()
        record = await system.run("export-data", {"entityType": "customers", "format": kind})
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert record.status is JobStatus.COMPLETED
        return most

    await insert(system, customers, customer_rows(400))
    await peak()  # modules and caches
    few = await peak()
    await insert(
        system,
        customers,
        [row | {"customer_id": f"more_{row['customer_id']}"} for row in customer_rows(3_600)],
    )
    many = await peak()
    assert many < few * 1.25 + 100_000, (few, many)  # ten times the rows


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_a_million_rows_stay_under_150_megabytes(kind: str) -> None:
    script = Path(__file__).parents[3] / "scripts" / "measure_export.py"
    done = subprocess.run(
        [sys.executable, script, "--rows", "1000000", "--format", kind],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(script.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("peak_megabytes=")[1].split()[0]) < 150


# --- files and links


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_link_expires_and_opens_its_own_file_alone(system: Any) -> None:
    await insert(system, customers, customer_rows(1))
    record = await system.run("export-data", {"entityType": "customers"})
    url = record.result["downloadUrl"].removeprefix("https://app.example.com")
    other = url.replace("customers-", "jobs-")
    assert (await system.client.get(other)).status_code == 403
    assert (await system.client.get(url.replace("expires=", "expires=9"))).status_code == 403
    assert (await system.client.get(url.partition("?")[0])).status_code == 403
    await system.harness.advance(timedelta(hours=24))
    assert (await system.client.get(url)).status_code == 200
    await system.harness.advance(timedelta(seconds=1))
    answer = await system.client.get(url)
    assert (answer.status_code, answer.json()["error"]) == (410, "the link has expired; ask for a new one")


async def test_a_link_to_a_file_that_was_cleaned_up_says_so(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with pytest.raises(StoredFileNotFoundError):
        await storage.find("exports/gone.csv")
    with pytest.raises(StoredFileNotFoundError):
        await storage.read("exports/gone.csv")
    assert await storage.delete("exports/gone.csv") is False


@given(name=st.text(max_size=20), expires=st.text(max_size=12), signature=st.text(max_size=64))
def test_no_made_up_link_opens_anything(name: str, expires: str, signature: str) -> None:
    with pytest.raises(LinkRejected):
        FileLinks(b"key", "https://x", timedelta(hours=1)).check(name, expires, signature, now=NOW)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a//b", "a/../b", ".tmp/x", "a\0b", "", "a\\b", "c:/x"]
)
def test_no_name_leaves_the_storage(name: str) -> None:
    with pytest.raises(ValueError, match="no file name"):
        check_name(name)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    path = storage.temporary_path(".csv")
    path.write_text("half")
    assert [file.name for file in storage._list(None, 10)] == []


def test_an_unknown_entity_names_those_there_are() -> None:
    with pytest.raises(ExportRefusedError, match="known: customers"):
        default_entities().get("x")


class _Colour(Enum):
    RED = "red"


def test_values_of_pythons_own_types_are_plain_typed_cells(tmp_path: Path) -> None:
    values: list[Any] = [
        date(2026, 1, 2),
        time(13, 30),
        timedelta(hours=49, seconds=1),
        -timedelta(minutes=90),
        UUID(int=1),
        _Colour.RED,
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        Decimal("sNaN"),
    ]
    assert [csv_text(value) for value in values[:6]] == [
        "2026-01-02",
        "13:30:00",
        "49:00:01",
        "-1:30:00",
        "00000000-0000-0000-0000-000000000001",
        "red",
    ]
    path = tmp_path / "typed.xlsx"
    writer = XlsxWriter(path, ["Value"])
    writer.write([[value] for value in values])
    writer.close()
    sheet = openpyxl.load_workbook(path).worksheets[0]
    cells: list[Any] = [row[0] for row in sheet.iter_rows(min_row=2)]
    day, clock, elapsed, negative, key, colour, last, odd = cells
    assert (day.is_date, day.value.date(), day.number_format) == (True, date(2026, 1, 2), "yyyy-mm-dd")
    assert clock.value == time(13, 30)
    assert elapsed.value == timedelta(hours=49, seconds=1)
    assert [negative.value, key.value, colour.value] == ["-1:30:00", str(UUID(int=1)), "red"]
    assert str(last.value).startswith("9999-12-31 23:59:59.999999")
    assert odd.value == "sNaN"


@pytest.mark.parametrize(
    ("value", "in_csv", "in_excel"),
    [
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "0001-01-01T00:00:00+14:00", None),
        (
            datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))),
            "9999-12-31T23:00:00-14:00",
            None,
        ),
        (timedelta.max, "23999999999:59:59.999999", None),
        (timedelta(days=2_958_465), "71003160:00:00", timedelta(days=2_958_465)),
        (b"text", "text", None),
        (memoryview(b"\xff\x00"), "ff00", None),
        (Fraction(1, 3), "1/3", None),
        (PurePosixPath("a/b"), "a/b", None),
        (IPv4Address("127.0.0.1"), "127.0.0.1", None),
        (frozenset(["one"]), '["one"]', None),
        ((1, [2, "ü"]), '[1, [2, "ü"]]', None),
        (Decimal("1E+500"), "1E+500", None),
    ],
)
def test_a_value_of_any_type_is_a_plain_cell_and_none_stops_the_file(
    tmp_path: Path, value: Any, in_csv: str, in_excel: Any
) -> None:
    assert csv_text(value) == in_csv
    path = tmp_path / "any.xlsx"
    writer = XlsxWriter(path, ["Value"])
    writer.write([[value], ["half \ud800"]])
    writer.close()
    sheet = openpyxl.load_workbook(path).worksheets[0]
    assert (sheet["A2"].value, sheet["A3"].value) == (in_csv if in_excel is None else in_excel, "half ?")
    assert sheet["A2"].data_type == ("s" if in_excel is None else "d")
