"""Records in their rows: what is on disk stays what it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.broker.resources import Queue
from emulator.store import records
from emulator.store.codec import Codec, always
from emulator.store.tables import QueueRow

# Written by the version that kept each direction of each record by hand.
_ROWS = json.loads(
    (Path(__file__).parent / "recorded_rows.json").read_text(),
    object_hook=lambda one: bytes.fromhex(one["bytes"]) if one.keys() == {"bytes"} else one,
)
_ENDS = _ROWS.pop("ends")


@pytest.mark.parametrize(
    ("kind", "index"), [(kind, n) for kind, rows in _ROWS.items() for n in range(len(rows))]
)
def test_a_row_of_an_earlier_version_is_read_and_written_again_as_it_was(kind: str, index: int) -> None:
    codec: Codec[Any] = getattr(records, kind)
    row = _ROWS[kind][index]
    record = codec.reading.of_row(row)
    written = dict(zip(codec.names, codec.values(row["tenant_id"], record), strict=True))
    assert _parsed(written) == _parsed(row)


def _parsed(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose JSON is compared as such: the order of an object's keys says nothing."""
    return {
        name: json.loads(value) if name.endswith("_json") and value is not None else value
        for name, value in row.items()
    }


@pytest.mark.parametrize("row", _ENDS)
def test_how_a_run_ended_is_read_and_written_again_byte_for_byte(row: dict[str, Any]) -> None:
    assert records.FAILURE.write(records.FAILURE.read(row["failure_json"])) == row["failure_json"]
    callback = records.FAILURE_CALLBACK.read(row["callback_json"])
    assert records.FAILURE_CALLBACK.write(callback) == row["callback_json"]


def test_a_column_that_no_record_fills_is_found_when_the_codec_is_made() -> None:
    with pytest.raises(AssertionError):
        Codec(Queue, QueueRow, always(color="red"))
