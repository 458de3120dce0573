"""Files of rows, written row by row in bounded memory."""

import csv
import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from jobs_core.exports.cells import Plain, csv_text, is_dangerous, plain

# Excel's own limits. Source: Microsoft, Excel specifications and limits (read 2026-11).
SHEET_ROWS = 1_048_576
_CELL_CHARACTERS = 32_767
_EXACT_INTEGER = 1 << 53  # a cell's number is a double
_OLDEST_DATE = 1900
_LONGEST_TIME = timedelta(
    days=2_958_465
)  # what a cell shows of hours: up to the end of 9999, counted from 1900
_LAST_INSTANT = datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001 -- a cell has no zone


class RowWriter(Protocol):
    """Writes rows under headings. Blocking; only one thread at a time may use it."""

    def write(self, rows: Iterable[Sequence[Any]]) -> None: ...

    def close(self) -> None:
        """Finish the file. Without this call there is none."""
        ...


class CsvWriter:
    """CSV as RFC 4180 has it, in UTF-8 without a byte order mark."""

    def __init__(self, path: Path, headings: Sequence[str]) -> None:
        # A stray surrogate must not stop a million rows.
        self._file = path.open("w", encoding="utf-8", errors="replace", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(headings)

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        self._writer.writerows([csv_text(value) for value in row] for row in rows)

    def close(self) -> None:
        self._file.close()


class XlsxWriter:
    """An Excel file. Rows are written to disk as they come; rows beyond a sheet's limit go to the next sheet."""

    def __init__(self, path: Path, headings: Sequence[str], *, sheet_rows: int = SHEET_ROWS) -> None:
        import xlsxwriter  # slow to import, and only needed for Excel

        self._book = xlsxwriter.Workbook(
            str(path),
            {
                "constant_memory": True,
                "tmpdir": str(path.parent),
                "strings_to_urls": False,
                "default_date_format": "yyyy-mm-dd hh:mm:ss",
            },
        )
        self._book.use_zip64()
        self._bold = self._book.add_format({"bold": True})
        self._instant = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._day = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._time = self._book.add_format({"num_format": "hh:mm:ss"})
        self._elapsed = self._book.add_format({"num_format": "[h]:mm:ss"})
        # Excel's own apostrophe: the cell stays text even when someone edits it.
        self._quoted = self._book.add_format({"quote_prefix": True})
        self._headings = headings
        self._sheet_rows = sheet_rows
        self._add_sheet()

    def write(self, rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            if self._next_row == self._sheet_rows:
                self._add_sheet()
            for column, value in enumerate(row):
                self._write_cell(column, plain(value))
            self._next_row += 1

    def close(self) -> None:
        self._book.close()

    def _add_sheet(self) -> None:
        self._sheet = self._book.add_worksheet()
        self._sheet.freeze_panes(1, 0)
        self._sheet.set_column(0, max(0, len(self._headings) - 1), 22)
        for column, heading in enumerate(self._headings):
            self._sheet.write_string(0, column, heading, self._bold)
        self._next_row = 1

    def _write_cell(self, column: int, value: Plain) -> None:
        row, sheet = self._next_row, self._sheet
        if value is None:
            return
        if isinstance(value, bool):
            sheet.write_boolean(row, column, value)
        elif isinstance(value, datetime) and _is_excels(value):
            sheet.write_datetime(row, column, value.replace(tzinfo=None), self._instant)
        elif isinstance(value, date) and not isinstance(value, datetime) and _is_excels(value):
            sheet.write_datetime(row, column, value, self._day)
        elif isinstance(value, time):
            sheet.write_datetime(row, column, value.replace(tzinfo=None), self._time)
        elif isinstance(value, timedelta) and timedelta(0) <= value <= _LONGEST_TIME:
            sheet.write_datetime(row, column, value, self._elapsed)
        elif isinstance(value, int | float | Decimal) and _fits_a_number(value):
            sheet.write_number(row, column, value)
        else:
            text = (csv_text(value) if isinstance(value, timedelta) else str(value))[:_CELL_CHARACTERS]
            text = text.encode(errors="replace").decode()  # half a surrogate pair must not stop the file
            sheet.write_string(row, column, text, self._quoted if is_dangerous(text) else None)


def _is_excels(value: date) -> bool:
    """Return whether Excel has the date: from 1900 on, and before the last second of 9999 rounded up."""
    return value.year >= _OLDEST_DATE and not (
        isinstance(value, datetime) and value.replace(tzinfo=None) > _LAST_INSTANT
    )


def _fits_a_number(value: float | Decimal) -> bool:
    try:
        return math.isfinite(value) and abs(float(value)) <= _EXACT_INTEGER
    except (ArithmeticError, ValueError):  # a signalling NaN
        return False


def open_writer(kind: str, path: Path, headings: Sequence[str]) -> RowWriter:
    """Return the writer of ``csv`` or ``xlsx``."""
    return XlsxWriter(path, headings) if kind == "xlsx" else CsvWriter(path, headings)
