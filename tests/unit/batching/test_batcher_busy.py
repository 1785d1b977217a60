"""A crowd that is refused as one large request goes on in small ones, which are counted apart."""

import json

from idalloc_client._batching._request_size import MAX_GATHERED, SMALLEST_PIECE
from idalloc_client._errors import BusyError
from tests.unit.batching.test_batcher import World


def count_of(world: World) -> int:
    count: int = json.loads(world.sent[0].spec.body).get("count", 1)
    return count


def test_a_crowd_that_is_refused_goes_on_in_small_requests() -> None:
    """Its user has drawn too much in batches; for few ids a worker still has an answer."""
    world = World()
    calls = [world.ask() for _ in range(1000)]
    world.turn()
    for _ in range(1000):
        if all(call.done() for call in calls):
            break
        while world.sent:
            if count_of(world) > SMALLEST_PIECE:
                world.refuse(-6)
            else:
                world.answer()
        world.pass_time(0.0)
        world.turn()
    assert [call.exception(0) for call in calls] == [None] * 1000
    assert world.requests < 40


def test_who_is_refused_few_ids_is_told() -> None:
    """There is nothing smaller to ask for, so it is each caller's to decide when to come again."""
    world = World(retry=False)
    calls = [world.ask() for _ in range(SMALLEST_PIECE)]
    world.turn()
    while world.sent:
        world.refuse(-6)
    assert {type(call.exception(0)) for call in calls} == {BusyError}
    assert world.request_limits() == {MAX_GATHERED}


def test_a_large_call_that_is_refused_is_told() -> None:
    """Nobody but its caller can ask for fewer."""
    world = World(retry=False)
    call = world.ask(500)
    world.turn()
    world.refuse(-6)
    assert isinstance(call.exception(0), BusyError)


def test_other_tags_go_on_in_large_requests() -> None:
    """What was drawn too much is ids of that tag."""
    world = World()
    for tag in ("busy", "other"):
        for _ in range(1000):
            world.ask(tag=tag)
    world.turn()
    world.refuse(-6)
    assert world.request_limits() == {SMALLEST_PIECE, MAX_GATHERED}
