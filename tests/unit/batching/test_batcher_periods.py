"""Calls that share a request for a tag that starts anew in each period."""

from concurrent.futures import Future
from typing import Any

import pytest

from idalloc_client._batch import IdBatch, PeriodError
from idalloc_client._rpc import RawReply
from idalloc_schemas import Period, encode_alloc_success
from tests.unit.batching.test_batcher import World

NOVEMBER = Period.parse("2026-11")


def answer(world: World, ranges: list[tuple[int, int]]) -> None:
    call = world.sent.pop(0)
    call.finish(RawReply(encode_alloc_success(ranges, NOVEMBER), "w"))
    world.turn()


def test_calls_with_a_period_share_a_request() -> None:
    """Each gets numbers of its own, all of them of the reply's period."""
    world = World()
    calls = [world.ask(count) for count in (1, 1, 3, 1)]
    world.turn()
    assert len(world.sent) == 1
    answer(world, [(1, 5), (8, 10)])
    batches = [call.result(0) for call in calls]
    assert [list(batch) for batch in batches] == [[1], [2], [3, 4, 8], [9]]
    assert {batch.period for batch in batches} == {NOVEMBER}


@pytest.mark.parametrize("beside", [[], [2]])
def test_who_wants_a_bare_id_gets_an_error(beside: list[int]) -> None:
    """Each with the number that was drawn for it; it is asked for once, and counted as failed."""
    world = World()
    bare = [world.ask() for _ in range(3)]
    others = [world.ask(count) for count in beside]
    gone = world.ask()
    world.turn()
    gone.cancel()
    answer(world, [(1, 5 + sum(beside))])
    errors = [call.exception(0) for call in bare]
    assert all(isinstance(error, PeriodError) for error in errors)
    assert [error.ids for error in errors if isinstance(error, PeriodError)] == [
        IdBatch([(place, place + 1)], period=NOVEMBER) for place in (1, 2, 3)
    ]
    assert [call.result(0).ranges for call in others] == [((4, 6),) for _ in beside]
    assert not world.sent
    counters = world.batcher.counters
    assert counters.failed == {"PeriodError": 3}
    assert (counters.served, counters.abandoned, counters.ids_unused) == (len(beside), 1, 1)


def test_the_next_period_begins_with_another_reply() -> None:
    """A reply is of one period, so that callers of one request are never of two."""
    world = World()
    before: list[Future[Any]] = [world.ask(1) for _ in range(2)]
    world.turn()
    after = [world.ask(1) for _ in range(2)]
    world.turn()
    answer(world, [(41, 43)])
    call = world.sent.pop(0)
    call.finish(RawReply(encode_alloc_success([(1, 3)], NOVEMBER.next()), "w"))
    told = [call.result(0).numbers()[0] for call in (*before, *after)]
    assert [(str(period), number) for period, number in told] == [
        ("2026-11", 41),
        ("2026-11", 42),
        ("2026-12", 1),
        ("2026-12", 2),
    ]
