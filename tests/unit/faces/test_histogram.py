"""The histogram of durations that clients and workers count in."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client.histogram import Histogram


@given(st.lists(st.floats(0, 10)))
def test_each_duration_is_counted_once(durations: list[float]) -> None:
    """Each falls into the first bucket whose bound is not below it."""
    histogram = Histogram((0.1, 1.0))
    for duration in durations:
        histogram.observe(duration)
    expected = [
        sum(duration <= 0.1 for duration in durations),
        sum(0.1 < duration <= 1 for duration in durations),
        sum(duration > 1 for duration in durations),
    ]
    assert histogram.counts == expected
    assert histogram.seconds == pytest.approx(sum(durations))
    first, second, _ = expected
    assert histogram.cumulative() == [(0.1, first), (1.0, first + second), (inf, len(durations))]


def test_a_copy_stays_as_it_was() -> None:
    """What is counted later is not in it."""
    histogram = Histogram((0.1,))
    histogram.observe(0.05)
    copy = histogram.copy()
    histogram.observe(7.0)
    assert copy == Histogram((0.1,), [1, 0], 0.05)
