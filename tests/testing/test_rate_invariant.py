"""A key's rate is checked for every time at which a call may have taken effect, and for no other."""

import pytest

from emulator.testing.invariants.flow_control import first_excess
from emulator.testing.invariants.record import Rate, SettingChange

_BASE_AT = 1_780_315_200_000  # of the milliseconds below
_TWO = SettingChange(value=Rate(rate=2, period_seconds=10), sent_at=_BASE_AT + 393, done_at=_BASE_AT + 393)


def _reset(sent_at: int, done_at: int) -> SettingChange[Rate]:
    return SettingChange(
        value=Rate(rate=2, period_seconds=10, is_fresh=True),
        sent_at=_BASE_AT + sent_at,
        done_at=_BASE_AT + done_at,
    )


@pytest.mark.parametrize(
    ("starts", "changes"),
    [
        ([394, 394], [_TWO]),
        ([394, 395, 10_394, 10_395], [_TWO]),
        # The reset took effect after the second start, and before the third.
        ([394, 400, 408, 568], [_TWO, _reset(394, 417)]),
        ([394, 400, 408, 568, 10_417], [_TWO, _reset(394, 417)]),
        ([394, 395, 408, 409, 420, 421], [_TWO, _reset(396, 417), _reset(397, 430)]),
    ],
)
def test_starts_that_some_course_of_the_periods_allows_are_no_breach(
    starts: list[int], changes: list[SettingChange[Rate]]
) -> None:
    assert first_excess([_BASE_AT + at for at in starts], changes) is None


@pytest.mark.parametrize(
    ("starts", "changes", "at"),
    [
        ([394, 395, 396], [_TWO], 396),
        ([394, 395, 10_393], [_TWO], 10_393),
        ([394, 400, 408, 568, 569], [_TWO, _reset(394, 417)], 569),
        ([394, 395, 420, 421, 422], [_TWO, _reset(396, 417)], 422),
        ([394, 395, 396, 420], [_TWO, _reset(397, 417)], 396),
        ([394, 395, 408, 409, 420, 421, 422], [_TWO, _reset(396, 417), _reset(397, 430)], 422),
    ],
)
def test_a_start_too_many_in_every_course_is_a_breach(
    starts: list[int], changes: list[SettingChange[Rate]], at: int
) -> None:
    excess = first_excess([_BASE_AT + start for start in starts], changes)
    assert excess is not None
    assert f" to {_BASE_AT + at}, where 2 are allowed" in excess
    assert excess.startswith("3 attempts")
