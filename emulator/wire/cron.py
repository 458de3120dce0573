"""Cron lines: validated here, computed by croniter on the wall clock of the line's zone (contract 5.4).

The dialect is robfig/cron's standard one, which the real service's error texts show: five fields, names,
``?`` for ``*``, either day field may match when both are restricted. A line fires at every instant whose local
wall clock matches: never for times that a daylight-saving gap skips, twice for times that a fold repeats.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from emulator.errors import InvalidInput
from emulator.wire.durations import parse_go_duration

_ZONE_PREFIX = re.compile(r"(?:CRON_TZ|TZ)=(\S*)\s*(.*)", re.DOTALL)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
_SHORTEST_INTERVAL_MS = 60_000
_MINUTE_MS = 60_000
_KEPT_TIMES = 16_384

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}

# No zone has repeated more than this much of a day in recent history; Lord Howe repeats half an hour.
_LONGEST_FOLD = timedelta(hours=3)
# A leap day falls on a given weekday again within 28 years, or 40 across the end of a century.
_SEARCH_YEARS = 50


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    words: dict[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    # Sunday is 0, and 7 is accepted for it, too (contract U27).
    _Field("day of week", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed line. ``text`` is the line as given, trimmed; exactly one of ``fields`` and ``interval_ms`` is set."""

    text: str
    zone: ZoneInfo
    fields: str | None
    interval_ms: int | None = None

    @staticmethod
    def parse(text: str) -> "Cron":
        """Read a cron line, perhaps with a ``CRON_TZ=<IANA zone>`` in front.

        Raises InvalidInput saying which field is wrong and what it accepts.
        """
        return _parse(text.strip())

    def next_after(self, after_at: int) -> int | None:
        """Return the first fire time (unix ms, on a whole minute) after ``after_at``, or ``None``."""
        if self.interval_ms is not None:
            return (after_at + self.interval_ms) // 1000 * 1000
        # Fire times are whole minutes in every zone, so all instants of one minute have the same next time.
        return _next_minute(self, after_at // _MINUTE_MS)

    def _next_match(self, moment: datetime) -> datetime | None:
        """Return the earliest matching instant after ``moment``.

        Local times come in the order of the wall clock, which a fold sets back. If ``moment`` is in a fold, the
        search starts before the fold and looks past its end.
        """
        local = moment.astimezone(self.zone).replace(tzinfo=None, fold=0)
        is_in_fold = len(self._instants(local)) > 1
        found: list[datetime] = []
        for candidate in self._matches_from(local - _LONGEST_FOLD if is_in_fold else local):
            if found and candidate > local + _LONGEST_FOLD:
                break
            found.extend(instant for instant in self._instants(candidate) if instant > moment)
            if found and not is_in_fold:
                break
        return min(found, default=None)

    def _matches_from(self, local: datetime) -> Iterator[datetime]:
        assert self.fields is not None
        iterator = croniter(self.fields, local, ret_type=datetime, max_years_between_matches=_SEARCH_YEARS)
        while True:
            try:
                yield iterator.get_next(datetime)
            except CroniterBadDateError:
                return

    def _instants(self, local: datetime) -> list[datetime]:
        """Return the instants at which the zone's clocks show ``local``: none in a gap, two in a fold."""
        instants: list[datetime] = []
        for fold in (0, 1):
            instant = local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
            shown = instant.astimezone(self.zone).replace(tzinfo=None, fold=0)
            if shown == local and instant not in instants:
                instants.append(instant)
        return instants


@lru_cache(_KEPT_TIMES)
def _next_minute(cron: Cron, minute: int) -> int | None:
    """Return the first fire time after the start of ``minute``, which is counted since the epoch."""
    upcoming = cron._next_match(datetime.fromtimestamp(minute * 60, UTC))  # noqa: SLF001 -- a method of the class above
    return None if upcoming is None else int(upcoming.timestamp()) * 1000


@lru_cache(maxsize=4096)
def _parse(text: str) -> Cron:
    zone, spec = _split_zone(text)
    if not spec:
        raise InvalidInput("Invalid cron expression empty spec string")
    if spec.startswith(_EVERY):
        return Cron(text, zone, None, _interval(spec))
    return Cron(text, zone, _checked_fields(_DESCRIPTORS.get(spec, spec)))


def _split_zone(text: str) -> tuple[ZoneInfo, str]:
    match = _ZONE_PREFIX.fullmatch(text)
    if match is None:
        return ZoneInfo("UTC"), text
    name = match[1]
    try:
        return ZoneInfo(name), match[2].strip()
    except (KeyError, ValueError, OSError):
        raise InvalidInput(
            f"Invalid cron expression {text!r}: unknown time zone {name!r}; expected an IANA name such as Europe/Berlin"
        ) from None


def _interval(spec: str) -> int:
    interval_ms = parse_go_duration(spec.removeprefix(_EVERY).strip())
    if interval_ms is None or interval_ms < _SHORTEST_INTERVAL_MS:
        raise InvalidInput(f"Invalid cron expression {spec!r}: @every takes a duration of at least 1m")
    return int(interval_ms)


def _checked_fields(spec: str) -> str:
    parts = spec.lower().split()
    if len(parts) != len(_FIELDS):
        raise InvalidInput(
            f"Invalid cron expression {spec!r}: expected exactly 5 fields, found {len(parts)}; "
            "minute hour day-of-month month day-of-week"
        )
    return " ".join(_checked(part, field, spec) for part, field in zip(parts, _FIELDS, strict=True))


def _checked(part: str, field: _Field, spec: str) -> str:
    return ",".join(_checked_range(item, field, spec) for item in part.split(","))


def _checked_range(item: str, field: _Field, spec: str) -> str:
    base, slash, step_text = item.partition("/")
    step = _number(step_text, {}, field, spec) if slash else 1
    if step < 1:
        raise _bad(field, item, spec)
    if base in ("*", "?"):
        # As in robfig/cron, "*/1" is a star, so the other day field alone decides. A longer step is not a star there,
        # so a match of either day field is enough.
        if step == 1:
            return "*"
        most = 6 if field.words is _WEEKDAYS else field.most
        return f"{field.least}-{most}/{step}" if field.least + step <= most else str(field.least)
    first_text, dash, last_text = base.partition("-")
    first = _number(first_text, field.words, field, spec)
    # As in robfig/cron, "5/15" means every 15 from 5 on.
    last = _number(last_text, field.words, field, spec) if dash else (field.most if slash else first)
    if field.words is _WEEKDAYS and not dash and slash:
        last = 6
    if not field.least <= first <= last <= field.most:
        raise _bad(field, item, spec)
    if first == last:
        return str(first)
    return f"{first}-{last}/{step}" if slash else f"{first}-{last}"


def _number(text: str, words: dict[str, int], field: _Field, spec: str) -> int:
    if text in words:
        return words[text]
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise _bad(field, text, spec)
    return int(text)


def _bad(field: _Field, item: str, spec: str) -> InvalidInput:
    words = f" or {'/'.join(field.words)}" if field.words else ""
    return InvalidInput(
        f"Invalid cron expression {spec!r}: {field.name} {item!r} is not a number, range or step within "
        f"{field.least}-{field.most}{words}"
    )
