"""What an owner holds while others reserve: it is handed out in order, or not at all."""

from collections.abc import Callable

import pytest

from idalloc_schemas import RespCode
from tests.engine_driver import OwnerDriver, Row


def owner(step: int = 10) -> OwnerDriver:
    """Make an owner that has handed out id 1 and holds 2 to 19."""
    d = OwnerDriver(rows={"order": Row(step)})
    assert d.get().id == 1
    return d


def adds_up(d: OwnerDriver) -> bool:
    tag = d.health()
    return tag.ids_reserved == tag.ids_handed_out + tag.ids_lost + tag.left


def test_what_is_held_is_void_once_somebody_else_has_reserved() -> None:
    """It lies below ids that may be with callers by now: 7 would follow 4002."""
    d = owner()
    end = d.draw_elsewhere()
    assert d.engine.reserved_by_others("order", end) == 18
    assert d.health().left == 0
    assert not d.refills, "nobody asks"
    assert d.get().id == end
    assert adds_up(d)


def test_what_others_reserved_before_is_no_news() -> None:
    """An owner reserves above all that came before, and hears of it again and again."""
    d = OwnerDriver(rows={"order": Row(10, max_id=500)})
    assert d.get().id == 500
    assert d.engine.reserved_by_others("order", 500) == d.engine.row_read("order", 520) == 0
    assert d.engine.reserved_by_others("unheard-of", 900) == 0
    assert d.get().id == 501


def test_a_segment_that_does_not_follow_the_last_one() -> None:
    """Somebody has reserved in between, and told nobody."""
    d = owner()
    d.ask(count=12)  # begins a refill
    end = d.draw_elsewhere()
    assert d.reserve()
    assert d.ask().id == end
    assert adds_up(d)


def test_an_owner_that_is_alone_loses_nothing() -> None:
    """Each segment begins where the last one ended, and the row says no more than was reserved."""
    d = owner()
    for number in range(2, 300):
        assert d.ask(count=1 + number % 7).ranges
        d.engine.row_read("order", d.rows["order"].max_id)
        d.settle()
        d.engine.row_read("order", d.rows["order"].max_id)
    assert d.health().ids_lost == 0


@pytest.mark.parametrize("hear", ["reserved_by_others", "row_read"])
def test_a_refill_under_way_that_was_overtaken(hear: str) -> None:
    """Its segment lies below one of somebody else, who is heard of first: it is not used."""
    d = owner()
    d.ask(count=12)
    waiting = d.ask(count=15)
    refill = d.refills.pop(0)
    segment = d.rows["order"].reserve(refill)
    end = d.draw_elsewhere()
    getattr(d.engine, hear)("order", end)
    settings = d.rows["order"].settings
    assert not d.engine.segment_arrived(refill.attempt, segment, settings, d.now)
    d._collect()
    assert d.health().left == 0
    d.settle()
    assert waiting.ranges[0][0] == end
    assert adds_up(d)


@pytest.mark.parametrize("hear", ["reserved_by_others", "row_read"])
def test_a_refill_under_way_that_overtook(hear: str) -> None:
    """Its segment lies above: it is used, and what was held before is not."""
    d = owner()
    d.ask(count=12)
    end = d.draw_elsewhere()
    getattr(d.engine, hear)("order", end)
    assert d.reserve()
    assert d.ask().id == end
    assert adds_up(d)


def test_a_row_that_moved_and_nobody_told() -> None:
    """Two segments are held, so that no refill would show it: the row does."""
    d = owner()
    end = d.draw_elsewhere()
    assert d.engine.row_read("order", end) == 18
    assert d.get().id == end
    assert adds_up(d)


def test_a_row_that_the_refill_under_way_may_have_moved() -> None:
    """Nobody gets an id until its end tells; here the owner is the one who reserved."""
    d = owner()
    d.ask(count=12)
    refill = d.refills.pop(0)
    segment = d.rows["order"].reserve(refill)
    assert d.engine.row_read("order", segment.right) == 0
    calls = [d.ask(), d.ask(count=2), d.ask(patience=1)]
    d.advance(1.5)  # one of them waits no longer, and the next in line gets nothing for that
    assert [call.waiting for call in calls] == [True, True, False]
    assert d.engine.segment_arrived(refill.attempt, segment, d.rows["order"].settings, d.now)
    d._collect()
    assert [call.ranges for call in calls[:2]] == [((14, 15),), ((15, 17),)]
    assert d.ask().id == 17
    assert d.health().ids_lost == 0


def test_a_generation_that_ends_in_doubt() -> None:
    """The next one is in none."""
    d = owner()
    d.ask(count=12)
    assert d.engine.row_read("order", d.draw_elsewhere()) == 0
    d.engine.void()
    assert d.get().id >= 30
    assert d.ask().ranges


@pytest.mark.parametrize(
    "end", [OwnerDriver.fail, lambda d: d.advance(d.limits.refill_timeout)], ids=["fails", "hangs"]
)
def test_a_row_that_moved_while_a_refill_came_to_nothing(
    end: Callable[[OwnerDriver], None],
) -> None:
    """Who moved it is not known, and may have been somebody else."""
    d = owner()
    d.ask(count=12)
    assert d.engine.row_read("order", d.draw_elsewhere()) == 0
    end(d)
    assert d.health().left == 0
    assert adds_up(d)


def test_a_tag_that_is_not_ordered_any_more() -> None:
    """What is held of it is of no use: it may be ordered again before anybody looks."""
    d = owner()
    assert d.engine.drop("order") == 18
    assert d.engine.drop("unheard-of") == 0
    assert d.get().id == 20


def test_an_owner_that_stops_uses_no_segment_that_arrives() -> None:
    """Its successor may have reserved first: 21 would follow 51. What was held before is in order.

    The segment is kept, to be given back.
    """
    d = owner()
    d.ask(count=12)
    d.engine.retire()
    successor = d.draw_elsewhere()
    held, waiting = d.ask(), d.ask(count=7)
    assert held.id == 14
    assert d.reserve()
    assert waiting.waiting
    d.advance(1)
    assert not d.refills
    d.close()
    assert waiting.code is RespCode.SHUTTING_DOWN
    assert list(d.engine.by_tag["order"].held()) == [(15, 20), (successor, successor + 10)]
    assert adds_up(d)


def test_an_owner_that_stops_and_loses_its_connection() -> None:
    """What arrived meanwhile is lost with the rest, and counted."""
    d = owner()
    d.ask(count=12)
    d.engine.retire()
    assert d.reserve()
    d.engine.void()
    d.close()
    tag = d.health()
    assert (tag.left, tag.ids_lost) == (0, 29 - 13)
    assert adds_up(d)


def test_an_owner_that_stops_begins_no_refill() -> None:
    """Neither for a tag that is new to it, nor for one that runs out."""
    d = owner()
    d.engine.retire()
    calls = [d.ask(count=12), d.ask(count=12), d.ask("other")]
    assert calls[0].ranges
    assert not d.refills
    d.close()
    assert [call.code for call in calls[1:]] == [RespCode.SHUTTING_DOWN] * 2
