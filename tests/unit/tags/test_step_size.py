"""The size of the next segment follows consumption, within bounds."""

from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idalloc_schemas import MAX_ID
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.tags._step_size import (
    DEFAULT_MAX_STEP,
    GROWTH,
    NO_DEMAND,
    SHRINKAGE,
    Demand,
    reservation_size,
    step_size,
)

ids = st.integers(1, MAX_ID)
tags = st.builds(
    TagSettings,
    step=st.one_of(st.integers(1, 10**6), ids),
    max_step=st.one_of(st.none(), ids),
    target_cover=st.sampled_from([0.0, 1.0, 60.0, 600.0, 2.0**31]),
)
rates = st.one_of(st.floats(0, 1e7), st.floats(0, 1e300), st.just(inf))
demands = st.builds(Demand, rate=rates, previous=st.integers(0, MAX_ID))


def cap_of(tag: TagSettings) -> int:
    if tag.max_step is None:
        return max(tag.step, min(100_000 * tag.step, DEFAULT_MAX_STEP))
    return max(tag.step, tag.max_step)


@given(tag=tags, demand=demands)
@example(tag=TagSettings(step=MAX_ID), demand=Demand(inf, MAX_ID))
def test_a_size_is_whole_steps_between_step_and_cap(tag: TagSettings, demand: Demand) -> None:
    """Whatever the rate, a size is one step or several, and the cap holds."""
    size = step_size(tag, demand)
    assert isinstance(size, int)
    assert size % tag.step == 0
    assert tag.step <= size <= cap_of(tag)


@given(tag=tags, demand=demands)
@example(
    tag=TagSettings(step=1, max_step=2**54 - 7, target_cover=1), demand=Demand(inf, 2**55 - 14)
)
def test_a_size_moves_in_bounded_leaps(tag: TagSettings, demand: Demand) -> None:
    """It is never more than 8 times the one before, and above a lower cap never less than half."""
    if not tag.target_cover:
        assert step_size(tag, demand) == tag.step
        return
    size = step_size(tag, demand)
    previous = max(demand.previous, tag.step)
    assert size < previous * GROWTH + tag.step
    assert size >= min(previous // SHRINKAGE, cap_of(tag) // tag.step * tag.step)


@given(tag=tags, previous=st.integers(0, MAX_ID), rate=rates, more=rates)
def test_a_higher_rate_never_gets_a_smaller_segment(
    tag: TagSettings, previous: int, rate: float, more: float
) -> None:
    """The size rises with the rate."""
    low, high = sorted([rate, more])
    assert step_size(tag, Demand(low, previous)) <= step_size(tag, Demand(high, previous))


@given(rate=st.floats(0, 1e5), cover=st.integers(1, 3600), start=st.integers(1, 10**7))
def test_a_steady_rate_gets_the_cover_that_the_row_asks_for(
    rate: float, cover: int, start: int
) -> None:
    """From wherever it starts, two segments last as long as wanted, but for step and cap."""
    tag = TagSettings(step=100, target_cover=float(cover))
    size = start
    for _ in range(30):
        size = step_size(tag, Demand(rate, size))
    wanted = min(max(rate * cover / 2, 100), DEFAULT_MAX_STEP)
    assert wanted <= size < wanted + 100


def test_an_idle_tag_comes_down_to_its_step() -> None:
    """The largest segment is halved until it is a step."""
    tag = TagSettings(step=100)
    sizes = [DEFAULT_MAX_STEP]
    while sizes[-1] > 100:
        sizes.append(step_size(tag, Demand(0, sizes[-1])))
    assert len(sizes) < 20


def test_a_burst_is_caught_up_with_in_six_refills() -> None:
    """From a step of 100 to ten million ids."""
    tag, size = TagSettings(step=100), 0
    for _ in range(6):
        size = step_size(tag, Demand(1e6, size))
    assert size == DEFAULT_MAX_STEP


@pytest.mark.parametrize(
    ("tag", "size"),
    [
        (TagSettings(step=100), 100),
        (TagSettings(step=100_000), 100_000),
        (TagSettings(step=20_000_000), 20_000_000),
        (TagSettings(step=100, max_step=50), 100),
    ],
)
def test_a_cold_tag_gets_one_step(tag: TagSettings, size: int) -> None:
    """Where nothing is known the row's step is reserved, also if it is above every cap."""
    assert step_size(tag, NO_DEMAND) == size


def test_changed_settings_count_at_once() -> None:
    """A cap that was lowered, a target that was set to 0 and a larger step are not approached."""
    demand = Demand(1e6, 10**6)
    assert step_size(TagSettings(step=100, max_step=5_050), demand) == 5_000
    assert step_size(TagSettings(step=100, target_cover=0), demand) == 100
    assert step_size(TagSettings(step=10**9), demand) == 10**9


@given(
    tag=tags,
    demand=demands,
    want=st.integers(0, 10**6),
    space=st.one_of(st.integers(1, 10**4), ids),
)
def test_a_reservation_covers_what_waits_and_leaves_nothing_above_the_end(
    tag: TagSettings, demand: Demand, want: int, space: int
) -> None:
    """It holds what waits as far as there are ids, and never one too many."""
    size = reservation_size(tag, demand, want, space)
    assert min(max(want, 1), space) <= size <= space
    assert size == space or size % tag.step == 0
    wanted = -(-max(want, 1) // tag.step) * tag.step
    assert size <= max(step_size(tag, demand), wanted)


def test_the_last_ids_are_shared_out_in_small_segments() -> None:
    """Near the end a segment that is larger than a step is a hundredth of what is left."""
    tag, demand = TagSettings(step=10), Demand(1e6, 10**6)
    sizes = [reservation_size(tag, demand, 1, space) for space in (10**8, 10**6, 5000, 900, 7)]
    assert sizes == [10**6, 10**4, 50, 10, 7]
