"""How the engine meets a database that fails, lies, forgets, or knows nothing of a tag."""

import pytest

from idalloc_schemas import RespCode, TagState
from idalloc_worker.engine._effects import TO_PERIOD, Personal, Refused
from idalloc_worker.engine._engine import EngineLimits
from tests.engine_driver import EXHAUSTED, NOT_FOUND, Driver, Row


def driver(step: int = 100, **limits: float) -> Driver:
    """Make an engine and a table with one row, `order`."""
    settings = EngineLimits(**limits)  # type: ignore[arg-type]  # counts are ints
    return Driver(settings, rows={"order": Row(step)})


def drained(step: int = 5, **limits: float) -> Driver:
    """Make an engine whose tag is known but has nothing left, and a refill in flight."""
    d = driver(step, **limits)
    d.get()
    assert d.ask(count=2 * step - 2).ranges
    assert d.health().left == 0
    return d


# Failures


def test_waiters_survive_failures_that_pass() -> None:
    """Three failed refills cost time only; the fourth attempt serves whoever waits."""
    d = driver()
    call = d.ask()
    d.fail_all(3)
    assert call.waiting
    while not d.refills:
        d.advance(0.01)
    d.reserve()
    assert call.id == 1


def test_all_are_told_at_once_after_the_fourth_failure() -> None:
    """When the engine gives up, everybody hears it then, not at the end of their time."""
    d = driver()
    calls = [d.ask(), d.ask(count=50)]
    d.fail_all(3)
    calls.append(d.ask())
    assert all(call.waiting for call in calls)
    d.fail_all(1)
    assert [call.code for call in calls] == [RespCode.NO_AVAILABLE_ID] * 3
    assert d.now - 1000 < d.limits.wait_timeout
    assert all((call.refusal.retry_after or 0) > 0 for call in calls)


@pytest.mark.parametrize("known", [True, False])
def test_after_giving_up_requests_fail_fast_until_the_next_try(known: bool) -> None:  # noqa: FBT001  # drawn
    """While a retry is not due, requests are refused at once and start nothing."""
    d = drained() if known else driver()
    d.ask()
    d.fail_all(4)
    attempts = len(d.started)
    retry_at = d.now + (d.ask().refusal.retry_after or 0)
    while d.now + 0.05 < retry_at:
        assert d.ask().code is RespCode.NO_AVAILABLE_ID
        d.advance(0.05)
    assert len(d.started) == attempts
    d.now = retry_at
    assert d.ask().waiting
    assert len(d.started) == attempts + 1


def test_one_more_failure_is_told_at_once() -> None:
    """After giving up, each single failed try ends the wait of those who hoped for it."""
    d = drained()
    d.ask()
    d.fail_all(4)
    d.advance(1)
    call = d.ask()
    d.fail()
    assert call.code is RespCode.NO_AVAILABLE_ID
    assert call.ended_at == d.now


def test_the_backoff_grows_and_is_capped() -> None:
    """Tries are 0.1, 0.2, 0.4, 0.8 and then always 1 second apart, however often they fail."""
    d = drained()
    pauses = []
    for _ in range(30):
        d.fail()
        failed_at = d.now
        while not d.refills:
            d.ask()  # a caller that asks again and again
            d.advance(0.01)
        pauses.append(d.started[-1][0] - failed_at)
    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.011)
    assert pauses[4:] == pytest.approx([1.0] * 26, abs=0.011)


@pytest.mark.parametrize(("jitter", "pause"), [(0.0, 0.05), (0.5, 0.075), (1.0, 0.1)])
def test_the_backoff_is_jittered(jitter: float, pause: float) -> None:
    """Workers that failed together do not come back together: a try waits 50 to 100 %."""
    d = driver()
    d.jitter = jitter
    d.ask()
    d.fail()
    d.advance(2)
    (first, _), (second, _) = d.started
    assert second - first == pytest.approx(pause)


def test_a_request_does_not_restart_a_failed_refill() -> None:
    """Requests against a sick database wait for the backoff, with and without ids in memory."""
    d = driver(5)
    d.get()
    for _ in range(3):
        d.ask()  # the last one drains a segment
    d.fail()
    d.ask()
    assert d.refills == []
    assert d.ask(count=100).waiting
    assert d.refills == []


def test_the_pool_recovers_by_itself() -> None:
    """After any number of failures one success serves again, with a fresh count of failures."""
    d = drained()
    d.ask()
    d.fail_all(4)
    assert d.health().state is TagState.FAILING
    assert d.health().last_error == "no connection"
    assert not d.health().healthy
    d.advance(1)
    assert d.get().id == 10
    assert (d.health().state, d.health().last_error) == (TagState.READY, None)
    d.ask(count=8)
    call = d.ask(count=50)
    d.fail_all(3)
    assert call.waiting


def test_ids_in_memory_are_handed_out_while_refills_fail() -> None:
    """A sick database is not felt as long as there are ids."""
    d = driver(5)
    d.get()
    for _ in range(3):
        d.ask()
    d.fail()
    assert d.health().state is TagState.FAILING
    assert d.health().healthy
    assert [d.ask().id for _ in range(5)] == [5, 6, 7, 8, 9]


def test_a_tag_that_never_had_ids_recovers_too() -> None:
    """A worker that started while the database was down serves once it is back."""
    d = driver()
    for failures in (4, 1, 1):  # it remembers that there is an outage
        d.ask()
        d.fail_all(failures)
        d.advance(1)
    assert d.get().id == 1


# Slow, lost and wrong answers


def test_a_slow_refill_is_abandoned_and_counts_as_a_failure() -> None:
    """A refill without an answer for 2 s is interrupted, and another one is tried."""
    d = drained()
    (slow,) = d.refills
    d.advance(1)
    call = d.ask()
    d.advance(1)
    assert d.abandoned == [slow.attempt]
    assert "2 s" in (d.health().last_error or "")
    d.advance(0.1)
    assert [refill.attempt != slow.attempt for refill in d.refills] == [False, True]
    d.reserve(1)
    assert call.id == 10


def test_a_segment_that_comes_too_late_is_lost_and_counted() -> None:
    """The ids of an abandoned refill are never handed out: another one may lie above them."""
    d = drained()
    d.ask()
    d.advance(2.2)
    abandoned, _retry = d.refills
    row = d.rows["order"]
    late = row.reserve(abandoned)
    d.reserve(1)
    ids = d.health().ids_reserved
    assert not d.engine.segment_arrived(abandoned.attempt, late, row.settings, d.now)
    d.refills.remove(abandoned)
    assert (d.health().ids_lost, d.health().ids_reserved) == (5, ids + 5)
    assert d.get().id == 15


def test_a_late_failure_does_not_end_the_next_attempt() -> None:
    """The report of an abandoned refill changes nothing but the books."""
    d = drained()
    d.advance(2.2)
    call = d.ask()
    assert len(d.refills) == 2
    d.fail(possibly_reserved=5)
    assert d.health().ids_lost == 5
    assert call.waiting
    d.reserve()
    assert call.id == 10


def test_a_late_refusal_does_not_drop_ids() -> None:
    """An abandoned refill that finds no row does not take away what a later one brought."""
    d = drained()
    d.advance(2.2)
    d.ask()
    d.reserve(1)
    held = d.health().left
    d.refuse(NOT_FOUND)
    assert d.health().left == held > 0


def test_a_commit_of_unknown_outcome_costs_its_segment() -> None:
    """What may have been reserved is counted as lost and never handed out."""
    d = driver(10)
    call = d.ask()
    d.rows["order"].reserve(d.refills[0])
    d.fail(possibly_reserved=10)
    d.advance(0.1)
    d.settle()
    assert call.id == 10
    assert (d.health().ids_lost, d.health().ids_reserved) == (10, 30)


@pytest.mark.parametrize("left", [0, 5, 19])
def test_a_segment_below_the_mark_is_refused(left: int) -> None:
    """Where the database went back, its segment is lost, and the refill counts as failed."""
    d = driver(10)
    d.get()
    d.ask(count=17)
    assert not d.arrive(left, left + 10)
    tag = d.health()
    assert (tag.left, tag.ids_lost, tag.state) == (1, 10, TagState.FAILING)
    assert d.ask().id == 19
    d.advance(0.1)
    d.ask()
    assert d.arrive(20, 30)


def test_an_empty_segment_is_never_taken_for_ids() -> None:
    """Two segments [0, 0) that pretend to be a success leave the pool wanting more."""
    d = driver()
    call = d.ask()
    d.arrive(0, 0)
    d.advance(1)
    d.arrive(0, 0)
    d.advance(0.5)
    assert call.waiting
    d.settle()
    assert call.id == 1


# Tags that the database does not have


def test_an_unknown_tag_is_told_to_all_who_wait() -> None:
    """Nobody waits for a tag that has no row, and it is not tried again four times."""
    d = Driver()
    calls = [d.ask("nope") for _ in range(3)]
    d.refuse(NOT_FOUND)
    assert [call.code for call in calls] == [RespCode.APP_TAG_NOT_FOUND] * 3
    d.advance(10)
    assert len(d.started) == 1


def test_an_unknown_tag_is_remembered_for_a_short_time() -> None:
    """Within `refusal_ttl` it is refused from memory; after it the database is asked again."""
    d = Driver()
    d.get("nope")
    d.advance(0.9)
    assert d.ask("nope").code is RespCode.APP_TAG_NOT_FOUND
    answer = d.engine.health(d.now, "nope")
    assert isinstance(answer, Refused)
    assert answer.code is RespCode.APP_TAG_NOT_FOUND
    assert len(d.started) == 1
    d.advance(0.1)
    d.rows["nope"] = Row(10)
    assert d.get("nope").id == 1


NOT_THEIRS = Personal(RespCode.APP_TAG_NOT_FOUND, "app_tag not found")


def test_who_may_not_have_a_tag_made_keeps_it_from_nobody() -> None:
    """Whether another one asks later, or waits already: each has its own answer."""
    d = Driver()
    eve, shop = d.ask("new", user="eve"), d.ask("new", user="shop")
    d.refuse(NOT_THEIRS)
    assert eve.code is RespCode.APP_TAG_NOT_FOUND
    assert shop.waiting
    assert d.refills[0].users == frozenset({"shop"})
    assert d.ask("new", user="eve").code is RespCode.APP_TAG_NOT_FOUND
    d.refuse(NOT_THEIRS)
    assert shop.code is RespCode.APP_TAG_NOT_FOUND
    assert list(d.engine.by_tag) == []
    assert len(d.started) == 2
    d.rows["new"] = Row(10)
    assert d.get("new", user="bob").id == 1


def test_a_tag_of_a_period_that_has_not_begun_is_forgotten() -> None:
    """Anybody may ask for any of them."""
    d = Driver()
    for number in range(100):
        d.ask(f"invoice@{2030 + number}")
        d.engine.redirect(f"invoice@{2030 + number}", d.now, TO_PERIOD)
        d.fail()
    assert list(d.engine.by_tag) == []
    assert len(d.engine._strangers) == 0


def test_fifty_thousand_unknown_tags_leave_bounded_state() -> None:
    """No map, heap or queue of the engine grows with the tags that it was asked for."""
    d = Driver()
    for number in range(50_000):
        assert d.get(f"tag-{number}").code is RespCode.APP_TAG_NOT_FOUND
        d.advance(0.001)
    engine = d.engine
    assert list(engine.by_tag.values()) == []
    assert engine._refilling == {}
    assert len(engine._refusals) <= d.limits.max_refusals
    assert len(engine._timers) < 10_000  # what the last two seconds left
    d.advance(2)
    assert len(engine._timers) == 0


def test_unknown_tags_are_bounded_while_the_database_is_down() -> None:
    """Tags whose refills all fail are forgotten too, whether or not their callers still wait."""
    d = Driver(EngineLimits(max_refusals=100))
    for number in range(1000):
        d.ask(f"tag-{number}", patience=0.01 if number % 2 else 5)
        d.fail()
        d.advance(0.01)
    while d.refills or d.engine._timers:
        while d.refills:
            d.fail()
        d.advance(0.1)
    assert list(d.engine.by_tag.values()) == []
    assert d.engine._refilling == {}
    assert len(d.engine._refusals) <= 100


def test_the_oldest_unknown_tag_is_forgotten_first() -> None:
    """Past `max_refusals` room is made for the newest."""
    d = driver(max_refusals=2)
    for name in ("a", "b", "c"):
        d.get(name)
    assert [d.ask(name).waiting for name in ("b", "c", "a")] == [False, False, True]


def test_a_deleted_tag_is_not_served_on() -> None:
    """Once the row is gone, the ids in memory are dropped and counted as lost."""
    d = driver(5)
    d.get()
    d.ask(count=4)
    del d.rows["order"]
    d.reserve()
    assert d.engine.remaining == 0
    assert d.ask().code is RespCode.APP_TAG_NOT_FOUND
    (pool,) = d.engine.by_tag.values()
    assert (pool.lost, pool.reserved, pool.handed_out) == (4, 9, 5)


def test_a_tag_that_is_created_anew_starts_above_what_was_handed_out() -> None:
    """A row that comes back with max_id 0 does not give old ids again."""
    d = driver(5)
    d.get()
    d.ask(count=4)
    del d.rows["order"]
    d.reserve()
    d.rows["order"] = Row(5)
    d.advance(1)
    assert d.get().id == 10


def test_an_exhausted_tag_serves_what_is_held() -> None:
    """The last ids of the id space go out before anybody hears that it is used up."""
    d = driver(5)
    d.get()
    d.ask(count=4)
    d.refuse(EXHAUSTED)
    assert d.health().state is TagState.REFUSED
    assert d.health().healthy
    assert [d.ask().id for _ in range(4)] == [6, 7, 8, 9]
    assert d.ask().code is RespCode.EXHAUSTED
    assert not d.health().healthy


def test_an_exhausted_tag_is_not_asked_for_again_at_each_request() -> None:
    """Requests within `refusal_ttl` of the refusal start no refill; after it, one does."""
    d = drained()
    d.refuse(EXHAUSTED)
    for _ in range(9):
        assert d.ask().code is RespCode.EXHAUSTED
        d.advance(0.1)
    assert d.refills == []
    d.advance(0.1)
    assert d.ask().waiting
    assert len(d.refills) == 1


def test_a_bad_row_is_told_as_it_is() -> None:
    """A step below 1 is the row's fault and not "tag not found"."""
    d = driver()
    call = d.ask()
    d.refuse(Refused(RespCode.INTERNAL, "the row of this app_tag is invalid: step is 0"))
    assert call.code is RespCode.INTERNAL
    assert "step is 0" in call.refusal.msg
    assert d.ask().code is RespCode.INTERNAL
    d.advance(1)
    assert d.get().id == 1


def test_the_books_of_a_forgotten_tag_are_kept() -> None:
    """Ids that a late report says were reserved are counted even if the tag was forgotten."""
    d = driver(10)
    d.ask(patience=1)
    d.advance(2)
    assert list(d.engine.by_tag.values()) == []
    d.reserve()
    assert d.health().ids_lost == 10
