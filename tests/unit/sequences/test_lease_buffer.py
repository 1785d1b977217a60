"""Sizes and bookkeeping of the ids that a sequence leases ahead."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client import IdAllocError, IdBatch, NoAvailableIdError
from idalloc_client._memory import LeasePage
from idalloc_client._sequences._lease_buffer import LeaseBuffer, no_lease_in_time
from idalloc_client._sequences._lease_size import LeaseLimits, next_lease_size
from idalloc_schemas import ErrorReply, RespCode

LIMITS = LeaseLimits(floor=100, cap=1_000_000, cover=10.0)

sizes = st.integers(100, 1_000_000)
times = st.floats(0, 1e6)


@given(last=sizes, used=st.integers(0, 10**9), seconds=times)
def test_a_lease_stays_within_its_bounds(last: int, used: int, seconds: float) -> None:
    """Whatever the rate, the size is between floor and cap and moves in bounded steps."""
    size = next_lease_size(LIMITS, last, used, seconds)
    assert LIMITS.floor <= size <= LIMITS.cap
    assert last // 2 <= size <= max(last * 8, LIMITS.floor)


@given(rate=st.floats(0.1, 1e5))
def test_a_steady_rate_gets_the_cover_it_asked_for(rate: float) -> None:
    """After some leases one lasts as long as wanted, unless floor or cap stand against it."""
    size = LIMITS.floor
    for _ in range(30):
        size = next_lease_size(LIMITS, size, size, size / rate)
    wanted = min(max(rate * LIMITS.cover, LIMITS.floor), LIMITS.cap)
    assert size == pytest.approx(wanted, rel=0.02, abs=1)


@given(
    last=sizes, seconds=st.floats(0.01, 1e4), used=st.integers(1, 10**6), more=st.integers(0, 10**6)
)
def test_a_higher_rate_never_gets_a_smaller_lease(
    last: int, seconds: float, used: int, more: int
) -> None:
    """The size rises with the rate."""
    slow = next_lease_size(LIMITS, last, used, seconds)
    assert next_lease_size(LIMITS, last, used + more, seconds) >= slow


@pytest.mark.parametrize(
    ("floor", "cap", "cover"), [(0, 1, 1.0), (2, 1, 1.0), (1, 1, 0.0), (1, 1, float("inf"))]
)
def test_bad_limits_are_refused(floor: int, cap: int, cover: float) -> None:
    """A lease of nothing, or for no time, is a mistake of the caller."""
    with pytest.raises(ValueError, match="lease"):
        LeaseLimits(floor, cap, cover)


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "lend", "fail", "wait", "restore"]), st.integers(1, 300))
    )
)
def test_every_leased_id_goes_out_once_or_is_counted(steps: list[tuple[str, int]]) -> None:
    """What came in equals what was handed out and what was given up; nothing twice."""
    now, next_id, came = 0.0, 1, 0
    page = LeasePage(64)
    buffer = LeaseBuffer(LeaseLimits(10, 500, 1.0), now, page)
    on_their_way: list[tuple[int, LeasePage]] = []
    handed_out: list[int] = []
    for step, amount in steps:
        if step == "take":
            buffer.turn_page(now)
            handed_out += islice(buffer.current, amount)
        elif step == "wait":
            now += amount / 100
        elif step == "restore":
            page.revoke()
            page = LeasePage(64)
            buffer.start_page(page)
        elif on_their_way and step == "lend":
            count, asked_under = on_their_way.pop()
            cut = max(count // 3, 1)  # a batch in two ranges, with a gap between
            ranges = [(next_id, next_id + cut), (next_id + cut + 5, next_id + count + 5)]
            buffer.lent(IdBatch([r for r in ranges if r[0] < r[1]]), asked_under)
            next_id += count + 5
            came += count
        elif on_their_way:
            on_their_way.pop()
            buffer.failed(IdAllocError("no"), now)
        on_their_way += ((count, page) for count in iter(buffer.want, None))
        assert len(on_their_way) <= 2
        assert buffer.cover(now) >= 0
    assert came == len(handed_out) + buffer.remaining + buffer.unused
    buffer.give_up()
    assert came == len(handed_out) + buffer.unused
    assert buffer.remaining == 0
    assert len(set(handed_out)) == len(handed_out)
    assert handed_out == sorted(handed_out)


def test_what_is_left_of_the_range_in_use_is_given_up() -> None:
    """Whoever holds the iterator gets nothing more of it."""
    page = LeasePage(64)
    buffer = LeaseBuffer(LeaseLimits(10, 500, 1.0), 0.0, page)
    assert buffer.want() == 10
    buffer.lent(IdBatch([(1, 11)]), page)
    assert buffer.turn_page(0.0)
    held = buffer.current
    assert list(islice(held, 3)) == [1, 2, 3]
    buffer.give_up()
    assert (list(held), buffer.unused) == ([], 7)


def refusal(retry_after_ms: int | None = 100) -> NoAvailableIdError:
    reply = ErrorReply(
        resp_code=RespCode.NO_AVAILABLE_ID, msg="no ids", retry_after_ms=retry_after_ms
    )
    return NoAvailableIdError(reply)


def refused_until(buffer: LeaseBuffer, now: float, deadline: float) -> list[float]:
    """Refuse all leases that somebody asks for who waits; tell when they were asked for."""
    asked = []
    while now < deadline:
        wanted = list(buffer.wanted(now, ready=False))
        for _ in wanted:
            buffer.failed(refusal(), now)
        asked += [now] if wanted else []
        buffer.raise_if_final()
        now = buffer.wait_until(deadline, now)
    return asked


def test_who_waits_asks_again_with_growing_pauses() -> None:
    """Until its deadline, which is told how often; then all begins anew."""
    buffer = LeaseBuffer(LIMITS, 0.0, LeasePage(64), jitter=lambda: 0.0)
    asked = refused_until(buffer, 0.0, 10.0)
    assert asked[:5] == pytest.approx([0.0, 0.11, 0.33, 0.77, 1.65])
    assert len(asked) <= 16
    with pytest.raises(NoAvailableIdError, match=f"refused {len(asked)} times") as caught:
        buffer.raise_if_final(no_lease_in_time)
    assert isinstance(caught.value.__cause__, NoAvailableIdError)
    assert refused_until(buffer, 20.0, 20.01) == [20.0]


def test_who_has_less_time_than_the_pause_asks_before_its_deadline() -> None:
    """At half of its time, but not more often than ten times a second."""
    buffer = LeaseBuffer(LIMITS, 0.0, LeasePage(64))
    assert buffer.want()
    buffer.failed(refusal(60_000), 0.0)
    assert buffer.wait_until(4.0, 0.0) == 2.0
    assert list(buffer.wanted(2.0, ready=False))
    buffer.failed(refusal(60_000), 2.0)
    assert buffer.wait_until(2.1, 2.0) == 2.1
    assert buffer.wait_until(2.18, 2.0) == 2.1


@pytest.mark.parametrize("retry", [False, True])
def test_an_answer_that_cannot_pass_is_told_at_once(retry: bool) -> None:  # noqa: FBT001
    """And so is each one to who wants the first."""
    buffer = LeaseBuffer(LIMITS, 0.0, LeasePage(64), retry=retry)
    assert buffer.want()
    buffer.failed(refusal(None if retry else 100), 0.0)
    with pytest.raises(NoAvailableIdError, match=r"no ids$"):
        buffer.raise_if_final()


def test_a_lease_that_came_ends_the_count() -> None:
    """What is told later is of later answers."""
    page = LeasePage(64)
    buffer = LeaseBuffer(LIMITS, 0.0, page)
    for answer in (refusal(), IdBatch([(1, 11)]), refusal()):
        assert buffer.want()
        if isinstance(answer, IdBatch):
            buffer.lent(answer, page)
        else:
            buffer.failed(answer, 0.0)
    with pytest.raises(NoAvailableIdError, match="refused once"):
        buffer.raise_if_final(no_lease_in_time)
