"""How many places one user may have among those who wait, and among the tags that are looked up."""

import pytest

from idalloc_schemas import RespCode
from idalloc_worker.engine._engine import EngineLimits
from idalloc_worker.engine._fair_share import EQUALLY, THREE_TIMES, FairShare, places_for
from tests.engine_driver import Driver, Row


def filled(share: FairShare, *users: str | None) -> list[int]:
    """Let users take places in turn as long as one gets any; tell how many each has."""
    taken = dict.fromkeys(users, 0)
    while admitted := [user for user in users if share.admits(user)]:
        for user in admitted:
            if share.admits(user):
                share.take(user)
                taken[user] += 1
    return list(taken.values())


@pytest.mark.parametrize(
    ("factor", "users", "fewest_left"),
    [(THREE_TIMES, ("a",), 500), (THREE_TIMES, ("a", None), 280), (EQUALLY, ("a",), 1000)],
)
def test_some_places_stay_free(
    factor: int, users: tuple[str | None, ...], fewest_left: int
) -> None:
    """However much one or two users want; and one more user gets some of them."""
    share = FairShare(2000, factor)
    taken = filled(share, *users)
    assert max(taken) - min(taken) <= 1
    assert 2000 - sum(taken) >= fewest_left
    assert share.admits("another")


@pytest.mark.parametrize("prefetch", [1, 2, 3, 10, 50, 2000, 40_000])
def test_a_lone_user_may_have_all_that_the_setting_says(prefetch: int) -> None:
    """And there is room for others behind it, unless there is hardly any at all."""
    places = places_for(prefetch)
    share = FairShare(places, THREE_TIMES)
    for _ in range(prefetch):
        assert share.admits("shop")
        share.take("shop")
    assert (places > prefetch) == (prefetch >= 3)
    assert places_for(65_535) == 65_535


def test_places_are_given_back() -> None:
    """And nothing is kept of a user that has none."""
    share = FairShare(10, THREE_TIMES)
    before = filled(share, "a", "b")
    for user, taken in zip("ab", before, strict=True):
        for _ in range(taken):
            share.leave(user)
    assert len(share) == 0
    assert filled(share, "a", "b") == before


def test_one_user_cannot_have_all_places_of_those_who_wait() -> None:
    """Not with any number of tags: the broker would deliver nothing more to this worker."""
    d = Driver(rows={f"tag-{number}": Row(10) for number in range(40)})
    d.engine.places.seen("shop", d.now)
    calls = [d.ask(f"tag-{number % 40}", user="greedy") for number in range(4000)]
    waiting = sum(call.waiting for call in calls)
    assert waiting == 2000
    assert {call.code for call in calls if not call.waiting} == {RespCode.BUSY}
    honest = [d.ask("tag-1", user="shop") for _ in range(100)]
    assert all(call.waiting for call in honest)
    d.settle()
    assert all(call.ranges for call in honest)
    assert d.ask("tag-1", user="greedy").ranges


def test_a_lone_user_waits_in_the_queue_of_the_broker() -> None:
    """While the database hangs, say: what is refused would make room for the next one."""
    d = Driver(rows={f"tag-{number}": Row(10) for number in range(4)})
    calls = [d.ask(f"tag-{number % 4}", user="shop") for number in range(places_for(2000))]
    assert all(call.waiting for call in calls)
    assert d.ask("tag-1", user="shop").code is RespCode.BUSY  # the broker delivers no more


@pytest.mark.parametrize("end", ["served", "refused", "late", "void", "closed"])
def test_whoever_waits_no_longer_has_no_place(end: str) -> None:
    """However the wait ended."""
    d = Driver(EngineLimits(max_waiting=8), rows={} if end == "refused" else {"order": Row(10)})
    d.engine.places.seen("another", d.now)
    calls = [d.ask(user="shop", patience=1.0) for _ in range(7)]
    assert sum(call.waiting for call in calls) == 6
    match end:
        case "served" | "refused":
            d.settle()
        case "late":
            d.advance(1.5)
            d.settle()
        case "void":
            d.engine.void()
        case "closed":
            d.close()
    assert len(d.engine.places) == 0


def test_a_user_brings_so_many_unknown_tags_at_a_time() -> None:
    """More are refused at once, and nothing is kept of them; another user's are looked up."""
    d = Driver(rows={"new": Row(10)})
    calls = [d.ask(f"made-up-{number}", user="greedy") for number in range(3000)]
    assert sum(call.waiting for call in calls) == len(d.refills) == len(d.engine.by_tag) == 500
    assert calls[-1].code is RespCode.BUSY
    assert calls[-1].refusal.retry_after is not None
    honest = d.ask("new", user="shop")
    d.settle()
    assert honest.ranges
    assert d.ask("made-up-9999", user="greedy").waiting


def test_a_tag_is_no_stranger_once_its_row_was_seen() -> None:
    """Nor once it is known that there is none; a refill says which it is for."""
    d = Driver(rows={"order": Row(10)})
    d.get("order")
    d.get("nope")
    assert [refill.stranger for _, refill in d.started] == [True, False, True]
    assert len(d.engine._strangers) == 0


@pytest.mark.parametrize("end", ["void", "ordered", "failed", "lost"])
def test_strangers_are_settled(end: str) -> None:
    """However the look for the row ended."""
    d = Driver(EngineLimits(wait_timeout=0.5), rows={"order": Row(10)})
    d.ask("order", patience=0.5)
    match end:
        case "void":
            d.engine.void()
        case "ordered":
            d.engine.redirect("order", d.now)
        case "failed":
            d.advance(0.5)
            d.fail_all(1)
        case "lost":
            d.fail(possibly_reserved=10)
    assert len(d.engine._strangers) == 0
