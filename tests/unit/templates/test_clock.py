"""The database's time, from when it was read last."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.templates._clock import DatabaseClock

START = datetime(2020, 1, 1, tzinfo=UTC)
UTC_TIMES = st.timedeltas(timedelta(0), timedelta(days=30_000)).map(lambda past: START + past)
SECONDS = st.floats(0, 1e6)


@given(UTC_TIMES, SECONDS, SECONDS)
def test_it_goes_on_as_the_monotonic_clock_does(utc: datetime, read: float, later: float) -> None:
    clock = DatabaseClock(utc, read)
    assert clock.at(read) == utc
    assert clock.at(read + later) - utc == timedelta(seconds=read + later - read)


@given(UTC_TIMES, SECONDS, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_when_it_will_be_so_late(utc: datetime, read: float, wait: timedelta) -> None:
    """To the microsecond, or what is left of one far from zero."""
    clock = DatabaseClock(utc, read)
    there = clock.at(clock.when(utc + wait))
    assert abs(there - (utc + wait)) <= timedelta(microseconds=2)
