"""The callers of one tag stand in line: who has to wait again stands in front."""

from concurrent.futures import Future
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._batching._tag_queue import Batch, CallLimit, TagQueue


def test_who_was_not_served_comes_before_those_who_came_later() -> None:
    """First come, first served: also where a worker left in between, or had too few ids."""
    queue = TagQueue("order", CallLimit(100), lambda _lane: None)
    first, second, third = (Future[Any]() for _ in range(3))
    for promise in (first, second):
        queue.join(promise, 10.0)
    gone = queue.take(10)
    queue.join(third, 10.0)
    queue.stand_in_front(gone.waiters)
    assert [waiter[0] for waiter in queue.take(10).waiters] == [first, second, third]


def test_the_ids_of_a_caller_that_has_gone_go_to_nobody() -> None:
    """Whoever comes after it gets what it would have got anyway, and the rest is counted."""
    gone, waiting = Future[Any](), Future[Any]()
    batch = Batch([(gone, 3, 10.0), (waiting, 2, 10.0)], single=False)
    gone.set_result(None)
    assert batch.hand_out(IdBatch([(1, 6)])) == (1, 3, 0)
    assert list(waiting.result()) == [4, 5]
