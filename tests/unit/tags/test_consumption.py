"""The rate at which ids are asked for, from a counter that is read now and then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.tags._consumption import Consumption


def after(*readings: tuple[float, int]) -> float:
    """Give the rate that the last reading shows."""
    consumption = Consumption()
    rate = 0.0
    for now, asked in readings:
        rate = consumption.observe(now, asked)
    return rate


def test_nothing_is_known_at_first() -> None:
    """The first reading shows no rate, whatever was asked for before it."""
    assert after((1000, 5000)) == 0


def test_the_rate_is_that_between_two_readings() -> None:
    """Each window begins where the one before ended."""
    assert after((0, 0), (10, 500)) == 50
    assert after((0, 0), (10, 500), (30, 520)) == 1


def test_no_time_at_all_is_no_division() -> None:
    """Readings at the same moment show what came in between as if it had taken a second."""
    assert after((5, 0), (5, 100)) == 100


def test_a_short_window_stays_open() -> None:
    """Many readings within a second add up: a fast tag is not taken for a slow one."""
    readings = [(tenth / 10, tenth * 1000) for tenth in range(11)]
    assert after(*readings) == 10_000


def test_a_short_window_shows_no_fall() -> None:
    """Just after a reading the rate before it is still the best that is known."""
    assert after((0, 0), (10, 1000), (10.1, 1001)) == 100
    assert after((0, 0), (10, 1000), (10.1, 1500)) == 500
    assert after((0, 0), (10, 1000), (11, 1001)) == 1


def test_a_clock_that_goes_back_starts_anew() -> None:
    """The rate stays, and what comes after it is measured on the new clock."""
    assert after((100, 0), (110, 1000), (50, 1010)) == 100
    assert after((100, 0), (110, 1000), (50, 1010), (60, 1020)) == 1


def test_a_clock_that_leaps_ahead_passes() -> None:
    """One low rate, and the next window is right again."""
    assert after((0, 0), (10, 1000), (1e6, 2000), (1e6 + 10, 3000)) == 100


def test_waiters_who_give_up_are_not_a_negative_rate() -> None:
    """What was asked for can fall; the rate is 0 then."""
    assert after((0, 500), (10, 100)) == 0


def test_a_look_changes_nothing() -> None:
    """The rate of now can be asked for at any time, without ending the window."""
    consumption = Consumption()
    consumption.observe(0, 0)
    assert [consumption.rate(at, int(at) * 10) for at in (5.0, 10.0, 3.0)] == [10, 10, 10]
    assert consumption.observe(20, 200) == 10


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(0, 2**63)), min_size=1, max_size=20),
)
def test_a_rate_is_a_number(readings: list[tuple[float, int]]) -> None:
    """No clock and no counter makes it negative or infinite."""
    assert 0 <= after(*readings) <= 2**63


@given(rate=st.integers(1, 10**6), gaps=st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
def test_a_steady_rate_is_found(rate: int, gaps: list[float]) -> None:
    """However irregular the readings, each closed window shows the rate."""
    consumption = Consumption()
    consumption.observe(0.0, 0)
    now = 0.0
    for gap in gaps:
        now += gap
        seen = consumption.observe(now, round(now * rate))
    now += 1.0
    seen = consumption.observe(now, round(now * rate))
    assert seen == pytest.approx(rate, rel=0.01, abs=1)
