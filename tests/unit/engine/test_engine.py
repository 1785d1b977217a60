"""What the engine hands out, in which order, and when it wants more."""

import pytest

from idalloc_schemas import RespCode, TagState
from idalloc_worker.engine._effects import Expired
from idalloc_worker.engine._engine import EngineLimits
from tests.engine_driver import Driver, Row


def driver(step: int = 100, *, exact: bool = False, **limits: float) -> Driver:
    """Make an engine and a table with one row, `order`."""
    settings = EngineLimits(**limits)  # type: ignore[arg-type]  # counts are ints
    return Driver(settings, rows={"order": Row(step, exact=exact)})


# As the reference service does


def test_a_fresh_tag_starts_at_1_and_health_counts_both_buffers() -> None:
    """Ids 1 and 2 of a fresh tag with step 100000 leave 199997, and max_id at 200000."""
    d = driver(100_000)
    assert d.get().id == 1
    assert d.get().id == 2
    assert d.health().left == d.engine.remaining == 199_997
    assert d.health().state is TagState.READY
    assert d.rows["order"].max_id == 200_000


def test_a_tag_is_loaded_at_its_first_request_only() -> None:
    """Nothing is reserved for a tag that nobody asked for."""
    d = driver()
    d.advance(60)
    assert d.started == []
    d.ask()
    assert [refill.app_tag for _, refill in d.started] == ["order"]


def test_at_most_two_segments_are_held() -> None:
    """Once two segments are in memory nothing more is reserved."""
    d = driver(10)
    d.get()
    assert d.health().segments == [(2, 10), (10, 20)]
    assert d.refills == []


@pytest.mark.parametrize("step", [1, 2, 10])
def test_id_0_is_never_handed_out(step: int) -> None:
    """The row starts at 0, but the first id is 1, even where the first segment is 0 alone."""
    d = driver(step)
    assert [d.get().id for _ in range(25)] == list(range(1, 26))


def test_a_batch_never_holds_id_0() -> None:
    """A first request for many ids starts at 1 too."""
    assert driver(10).get(count=25).ranges == ((1, 26),)


def test_tags_have_counters_of_their_own() -> None:
    """Two tags, also such that differ in case only, do not share ids."""
    d = Driver(rows={"order": Row(10), "Order": Row(10, max_id=70)})
    assert (d.get("order").id, d.get("Order").id) == (1, 70)


# Batches


def test_a_batch_across_segments_that_touch_is_one_range() -> None:
    """Ranges that follow one another are merged."""
    d = driver(10)
    d.get()
    assert d.get(count=15).ranges == ((2, 17),)


def test_a_batch_across_segments_apart_has_a_range_from_each() -> None:
    """Where another worker reserved in between, the batch skips its ids."""
    d = driver(10)
    d.ask()
    d.arrive(0, 10)
    d.arrive(50, 60)
    assert d.ask(count=12).ranges == ((2, 10), (50, 54))


def test_a_batch_beyond_the_step_reserves_what_it_needs_at_once() -> None:
    """One refill is sized to the demand, not one refill for each step."""
    d = driver(10)
    call = d.ask(count=1000)
    (refill,) = d.refills
    assert refill.want == 1000
    d.settle()
    assert call.ranges == ((1, 1001),)
    assert len(d.started) == 3  # id 0 is missing from the first; the third is the second buffer


def test_a_batch_counts_what_is_held_already() -> None:
    """A refill for a batch asks for what is missing only."""
    d = driver(10)
    d.get()  # leaves 18
    d.ask(count=500)
    assert [refill.want for refill in d.refills] == [482]


def test_a_refill_covers_the_sum_of_all_who_wait() -> None:
    """Requests that come while a refill runs share the next one."""
    d = driver(10)
    first = d.ask()
    others = [d.ask(count=70) for _ in range(3)]
    d.reserve()
    assert first.id == 1
    (refill,) = d.refills
    assert refill.want == 3 * 70 - 8
    d.settle()
    assert [call.ranges for call in others] == [((2, 72),), ((72, 142),), ((142, 212),)]


def test_a_refill_is_never_larger_than_the_largest_batch() -> None:
    """However many wait, one refill stays within `max_count`, and another one follows."""
    d = driver(10, max_count=500)
    calls = [d.ask(count=500) for _ in range(3)]
    d.reserve()
    d.settle()
    assert max(refill.want for _, refill in d.started) == 500
    assert [call.ranges for call in calls] == [((1, 501),), ((501, 1001),), ((1001, 1501),)]


def test_a_cold_batch_beyond_the_limit_is_an_invalid_request() -> None:
    """A count above `max_count` is refused at once with the limit, and reserves nothing."""
    d = driver(max_count=500)
    refusal = d.ask(count=501).refusal
    assert refusal.code is RespCode.INVALID_REQUEST
    assert "count" in refusal.msg
    assert "500" in refusal.msg
    assert d.started == []


# When it wants more


def test_a_refill_starts_as_soon_as_fewer_than_two_segments_are_held() -> None:
    """The request that uses up a segment starts the next refill, not the one after it."""
    d = driver(5)
    d.get()
    assert [d.ask().id for _ in range(2)] == [2, 3]
    assert d.refills == []
    d.ask()  # id 4, the segment's last
    assert len(d.refills) == 1


def test_one_refill_per_tag_is_in_flight() -> None:
    """Requests that come while a refill runs start no second one."""
    d = driver(5)
    for _ in range(20):
        d.ask()
        d.advance(0.01)
    assert len(d.started) == 1


def test_who_drains_the_pool_after_a_wake_up_starts_the_next_refill() -> None:
    """When waiters use up a segment as it arrives, the next refill starts without a request."""
    d = driver(10, exact=True)
    calls = [d.ask() for _ in range(9)]
    d.reserve()
    assert not any(call.waiting for call in calls)
    assert d.health().left == 0
    assert len(d.refills) == 1


def test_a_changed_step_is_taken_from_the_next_refill() -> None:
    """Health shows the step that the row had at the last refill."""
    d = driver(10)
    d.get()
    d.rows["order"].step = 70
    d.get(count=20)
    assert d.health().step == 70


def test_a_refill_names_the_floor_below_which_no_segment_may_lie() -> None:
    """The store is told the end of the highest segment seen, so that it can repair the row."""
    d = driver(10)
    d.get()
    d.rows["order"].max_id = 3  # the database was rewound
    d.get(count=17)
    assert [refill.floor for _, refill in d.started] == [0, 10, 20]
    assert d.get(count=12).ranges == ((19, 31),)


# Waiting


@pytest.mark.parametrize("exact", [True, False])
def test_small_steps_and_a_thousand_waiters(exact: bool) -> None:  # noqa: FBT001  # drawn
    """With step 10, 1000 requests at once are all served, in the order in which they came."""
    d = driver(10, exact=exact)
    calls = [d.ask() for _ in range(1000)]
    for _ in range(101):
        d.advance(0.01)
        if d.refills:
            d.reserve()
    assert [call.id for call in calls] == list(range(1, 1001))


def test_nobody_overtakes() -> None:
    """A small request waits behind a batch even if its ids are in memory."""
    d = driver(10)
    d.get()
    batch = d.ask(count=50)
    small = d.ask()
    assert d.health().left == 18
    assert (batch.waiting, small.waiting) == (True, True)
    d.settle()
    assert (batch.ranges, small.id) == (((2, 52),), 52)


def test_an_expired_batch_makes_room() -> None:
    """When a batch at the front gives up, the small request behind it is served at once."""
    d = driver(10)
    d.get()
    batch = d.ask(count=50, patience=1)
    small = d.ask()
    d.advance(1)
    assert batch.code is RespCode.NO_AVAILABLE_ID
    assert (small.id, small.ended_at) == (2, batch.ended_at)


def test_who_gives_up_in_the_middle_holds_nobody_up() -> None:
    """A request that expires between others neither takes ids nor blocks the queue."""
    d = driver(10)
    first, second, third = d.ask(count=5), d.ask(count=5, patience=0.2), d.ask(count=3)
    d.advance(0.5)
    assert [call.waiting for call in (first, second, third)] == [True, False, True]
    d.settle()
    assert (first.ranges, third.ranges) == (((1, 6),), ((6, 9),))


def test_a_wait_ends_after_the_wait_timeout() -> None:
    """Whoever waited for two seconds is told that there is no available id."""
    d = driver()
    call = d.ask()
    d.advance(1.99)
    assert call.waiting
    d.advance(0.01)
    assert call.code is RespCode.NO_AVAILABLE_ID
    assert call.refusal.msg == "no available id"


@pytest.mark.parametrize(("patience", "margin"), [(1.5, 0.1), (0.5, 0.05), (0.01, 0.001)])
def test_who_waits_is_told_before_its_caller_stops_listening(
    patience: float, margin: float
) -> None:
    """The answer leaves 0.1 s, or a tenth of the caller's time, before its deadline."""
    d = driver()
    call = d.ask(patience=patience)
    d.advance(2)
    assert call.code is RespCode.NO_AVAILABLE_ID
    assert call.deadline - call.ended_at == pytest.approx(margin)


def test_past_its_deadline_a_request_uses_up_no_id() -> None:
    """If the engine is woken too late, the request expires and its id goes to the next one."""
    d = driver()
    late = d.ask(patience=0.2)
    in_time = d.ask(patience=5)
    d.now += 0.3  # no tick in between: the thread was held up
    d.reserve()
    assert isinstance(late.outcome, Expired)
    assert in_time.id == 1


def test_a_tick_past_the_deadline_expires() -> None:
    """Nobody is answered after its deadline, also where no segment came."""
    d = driver()
    call = d.ask(patience=0.2)
    d.now += 0.3
    d.advance(0)
    assert isinstance(call.outcome, Expired)


def test_a_deadline_that_is_over_is_never_waited_for() -> None:
    """A request that comes too late and cannot be served at once expires with the next tick."""
    d = driver()
    call = d.ask(patience=-1)
    assert d.engine.next_wakeup <= d.now
    d.advance(0)
    assert isinstance(call.outcome, Expired)


def test_one_more_than_the_cap_is_busy() -> None:
    """Beyond `max_waiters` a request is refused at once and told when to come back."""
    d = driver(max_waiters=3)
    waiting = [d.ask() for _ in range(3)]
    refused = d.ask()
    assert refused.code is RespCode.BUSY
    assert refused.refusal.retry_after is not None
    assert refused.refusal.retry_after > 0
    d.settle()
    assert [call.id for call in waiting] == [1, 2, 3]


def test_the_cap_counts_those_who_wait_now() -> None:
    """Places of those who were served or gave up are free again."""
    d = driver(max_waiters=2)
    d.ask(patience=0.1)
    d.ask()
    d.advance(0.1)
    assert d.ask().waiting
    assert d.ask().code is RespCode.BUSY
    d.settle()
    assert d.get().id == 3


def test_the_cap_is_per_tag() -> None:
    """A crowd at one tag keeps nobody from another."""
    d = driver(max_waiters=1)
    d.rows["other"] = Row(10)
    d.get("other")
    d.ask()
    other = d.ask("other", count=50)
    assert other.waiting
    d.settle()
    assert other.ranges == ((2, 52),)


# Health


def test_a_cold_tag_is_healthy() -> None:
    """A worker that nobody asked yet says so, and does not say that there are no ids."""
    d = driver()
    assert d.health().state is TagState.COLD
    assert d.health().healthy
    assert not d.engine.by_tag
    assert d.started == []


def test_health_says_what_happened_to_a_tag() -> None:
    """Waiters, counters and what is left are told for each tag."""
    d = driver(10)
    call = d.ask(count=3)
    assert d.health().state is TagState.REFILLING
    assert (d.health().waiters, d.health().healthy) == (1, True)
    d.settle()
    tag = d.health()
    assert call.ranges == ((1, 4),)
    assert (tag.waiters, tag.ids_reserved, tag.ids_handed_out, tag.ids_lost) == (0, 19, 3, 0)
    assert tag.segments == [(4, 10), (10, 20)]


# Closing


def test_closing_refuses_those_who_wait() -> None:
    """Everybody who waits is told at once that the worker stops."""
    d = driver()
    calls = [d.ask(), d.ask()]
    d.close()
    assert [call.code for call in calls] == [RespCode.SHUTTING_DOWN] * 2
    assert all(call.refusal.retry_after is not None for call in calls)


def test_closing_grants_what_is_held_and_reserves_no_more() -> None:
    """A closed engine hands out what it has, refuses the rest, and starts no refill."""
    d = driver(5)
    d.get()
    d.close()
    assert [d.ask().id for _ in range(8)] == list(range(2, 10))
    assert d.ask().code is RespCode.SHUTTING_DOWN
    assert d.ask("other").code is RespCode.SHUTTING_DOWN
    d.advance(10)
    assert d.refills == []


def test_a_segment_that_comes_while_closing_is_taken_in() -> None:
    """A refill that was in flight at the close still counts its ids, and starts no other."""
    d = driver(5)
    d.ask()
    d.close()
    assert d.reserve()
    assert d.health().left == 4
    assert d.refills == []
