"""Cron lines and zones, over the daylight-saving changes of 2026 and 2027 (contract 5.4)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.errors import InvalidInput
from emulator.wire.cron import Cron


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def _next(line: str, after: str, count: int) -> list[str]:
    """The next firings in UTC."""
    cron, at = Cron.parse(line), _at(after)
    found = []
    for _ in range(count):
        following = cron.next_after(at)
        assert following is not None
        at = following
        found.append(datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("line", "after", "firings"),
    [
        ("*/15 * * * *", "2026-06-01 12:00", ["2026-06-01 12:15", "2026-06-01 12:30"]),
        ("5/20 * * * *", "2026-06-01 12:00", ["2026-06-01 12:05", "2026-06-01 12:25", "2026-06-01 12:45"]),
        ("0 9-17/4 * * MON-FRI", "2026-06-05 14:00", ["2026-06-05 17:00", "2026-06-08 09:00"]),
        ("0 0 * * 0", "2026-06-01 00:00", ["2026-06-07 00:00", "2026-06-14 00:00"]),
        ("0 0 * * 7", "2026-06-01 00:00", ["2026-06-07 00:00", "2026-06-14 00:00"]),
        ("0 0 * * SUN", "2026-06-01 00:00", ["2026-06-07 00:00"]),
        ("0 0 * * 5-7", "2026-06-01 00:00", ["2026-06-05 00:00", "2026-06-06 00:00", "2026-06-07 00:00"]),
        # Both day fields restricted: either may match.
        ("0 0 13 * FRI", "2026-06-01 00:00", ["2026-06-05 00:00", "2026-06-12 00:00", "2026-06-13 00:00"]),
        # A step of one restricts nothing.
        ("0 0 */1 * MON", "2026-06-01 12:00", ["2026-06-08 00:00", "2026-06-15 00:00"]),
        ("0 0 1 * */1", "2026-06-01 12:00", ["2026-07-01 00:00"]),
        # A longer one does, as in robfig/cron: it is no star, so either day field's match is enough.
        ("0 5 */2 * 0-6", "2026-06-01 12:00", ["2026-06-02 05:00", "2026-06-03 05:00", "2026-06-04 05:00"]),
        ("0 5 */2 * *", "2026-06-01 12:00", ["2026-06-03 05:00", "2026-06-05 05:00"]),
        ("0 5 1-31/2 * 0-6", "2026-06-01 12:00", ["2026-06-02 05:00", "2026-06-03 05:00"]),
        ("0 5 1-31 * */2", "2026-06-01 12:00", ["2026-06-02 05:00", "2026-06-03 05:00"]),
        ("0 5 */2 * MON", "2026-06-06 12:00", ["2026-06-07 05:00", "2026-06-08 05:00", "2026-06-09 05:00"]),
        ("0 0 ? JAN,jul *", "2026-06-30 00:00", ["2026-07-01 00:00", "2026-07-02 00:00"]),
        ("0 0 29 2 *", "2026-06-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("@daily", "2026-06-01 12:00", ["2026-06-02 00:00"]),
        ("@every 90m", "2026-06-01 12:00", ["2026-06-01 13:30", "2026-06-01 15:00"]),
        (" 0 12 * * * ", "2026-06-01 12:00", ["2026-06-02 12:00"]),
    ],
)
def test_lines_in_utc(line: str, after: str, firings: list[str]) -> None:
    assert _next(line, after, len(firings)) == firings


_NEW_YORK, _BERLIN = "CRON_TZ=America/New_York ", "CRON_TZ=Europe/Berlin "
_LORD_HOWE, _APIA = "CRON_TZ=Australia/Lord_Howe ", "CRON_TZ=Pacific/Apia "


@pytest.mark.parametrize(
    ("line", "after", "firings"),
    [
        # The gap of 2026-03-08, 02:00 to 03:00: what it skips does not fire.
        (f"{_NEW_YORK}30 2 * * *", "2026-03-07 12:00", ["2026-03-09 06:30", "2026-03-10 06:30"]),
        (f"{_NEW_YORK}0 9 * * *", "2026-03-07 12:00", ["2026-03-07 14:00", "2026-03-08 13:00"]),
        (f"{_NEW_YORK}30 2 * * *", "2027-03-13 12:00", ["2027-03-15 06:30"]),
        # The fold of 2026-11-01, 01:00 to 02:00: what it repeats fires in both hours.
        (f"{_NEW_YORK}30 1 * * *", "2026-10-31 12:00", ["2026-11-01 05:30", "2026-11-01 06:30", "2026-11-02 06:30"]),
        (f"{_NEW_YORK}30 1 * * *", "2027-11-06 12:00", ["2027-11-07 05:30", "2027-11-07 06:30"]),
        (f"{_BERLIN}30 2 * * *", "2026-03-28 12:00", ["2026-03-30 00:30"]),
        (f"{_BERLIN}30 2 * * *", "2027-03-27 12:00", ["2027-03-29 00:30"]),
        (
            f"{_BERLIN}*/30 2 * * *", "2026-10-24 12:00",
            ["2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-26 01:00"],
        ),
        (f"{_BERLIN}0 8 * * *", "2027-10-30 12:00", ["2027-10-31 07:00", "2027-11-01 07:00"]),
        # Lord Howe turns its clocks by half an hour.
        (
            f"{_LORD_HOWE}*/15 1 * * *", "2026-04-04 13:00",
            ["2026-04-04 14:00", "2026-04-04 14:15", "2026-04-04 14:30", "2026-04-04 14:45",
             "2026-04-04 15:00", "2026-04-04 15:15", "2026-04-05 14:30"],
        ),
        (
            f"{_LORD_HOWE}45 1 * * *", "2027-04-02 18:00",
            ["2027-04-03 14:45", "2027-04-03 15:15", "2027-04-04 15:15"],
        ),
        (f"{_LORD_HOWE}15 2 * * *", "2026-10-03 12:00", ["2026-10-04 15:15"]),
        (f"{_LORD_HOWE}15 2 * * *", "2027-10-02 12:00", ["2027-10-03 15:15"]),
        # Apia has not changed its clocks since 2021: +13 all year.
        (f"{_APIA}0 0 * * *", "2026-04-04 12:00", ["2026-04-05 11:00", "2026-04-06 11:00"]),
        (f"{_APIA}0 0 * * *", "2027-09-25 12:00", ["2027-09-26 11:00"]),
        (f"{_APIA}*/15 3 * * SUN", "2026-09-26 12:00", ["2026-09-26 14:00", "2026-09-26 14:15", "2026-09-26 14:30"]),
        # Weekdays and days of the month are the zone's, not UTC's; Sunday as 0, as 7 and by name.
        (f"{_APIA}30 0 * * 0", "2026-06-01 00:00", ["2026-06-06 11:30", "2026-06-13 11:30"]),
        (f"{_APIA}30 0 * * 7", "2026-06-01 00:00", ["2026-06-06 11:30", "2026-06-13 11:30"]),
        (f"{_NEW_YORK}0 22 1 * SUN", "2027-03-12 00:00", ["2027-03-15 02:00", "2027-03-22 02:00"]),
        (f"{_BERLIN}15 1-4/3 28 MAR *", "2026-12-01 00:00", ["2027-03-28 00:15", "2027-03-28 02:15"]),
        ("TZ=Asia/Tokyo 0 9 * * *", "2026-06-01 00:00", ["2026-06-02 00:00"]),
    ],
)  # fmt: skip
def test_lines_in_zones(line: str, after: str, firings: list[str]) -> None:
    assert _next(line, after, len(firings)) == firings


@pytest.mark.parametrize(
    "line",
    [
        "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8",
        "5-1 * * * *", "*/0 * * * *", "*/ * * * *", "1, * * * *", ", * * * *", "a * * * *", "* * L * *", "* * * * 1#2",
        "* * 1W * *", "-1 * * * *", "1-2-3 * * * *", "H * * * *", "@often", "@every 30s", "@every",
        "CRON_TZ=Nowhere/X * * * * *",
        "CRON_TZ= * * * * *", "CRON_TZ=../etc/passwd * * * * *",
    ],
)  # fmt: skip
def test_what_is_no_cron_line(line: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid cron expression"):
        Cron.parse(line)


@pytest.mark.parametrize("line", ["", "   ", "CRON_TZ=UTC", "CRON_TZ=UTC "])
def test_an_empty_line_is_refused_in_the_services_words(line: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid cron expression empty spec string"):
        Cron.parse(line)


def test_a_date_that_never_comes_has_no_next_time() -> None:
    assert Cron.parse("0 0 30 2 *").next_after(_at("2026-01-01 00:00")) is None


@settings(max_examples=60)
@given(
    st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    st.integers(min_value=0, max_value=59),
    st.integers(min_value=0, max_value=23),
    st.integers(min_value=_at("2026-01-01 00:00") // 60_000, max_value=_at("2027-12-31 00:00") // 60_000),
)
def test_each_firing_is_the_first_instant_after_now_whose_local_clock_matches(
    zone: str, minute: int, hour: int, after_minutes: int
) -> None:
    cron = Cron.parse(f"CRON_TZ={zone} {minute} {hour} * * *")
    after_at = after_minutes * 60_000
    found = cron.next_after(after_at)
    expected = next(
        at
        for at in range(after_at + 60_000, after_at + 3 * 86_400_000, 60_000)
        if (local := datetime.fromtimestamp(at / 1000, cron.zone)).minute == minute and local.hour == hour
    )
    assert found == expected
