"""The callers of one tag stand in line: who has to wait again stands in front."""

import asyncio
from concurrent.futures import Future
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._batching._tag_queue import Batch, CallLimit, TagQueue
from idalloc_client._batching._task_promise import TaskWaker
from tests.unit.batching.test_task_promise import waiting


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


def test_nor_do_those_of_a_task() -> None:
    """Others of its request are woken with theirs."""

    async def run() -> list[Any]:
        waker = TaskWaker(asyncio.get_running_loop())
        promises = [waker.promise() for _ in range(3)]
        tasks = [asyncio.create_task(waiting(promise)) for promise in promises]
        await asyncio.sleep(0)
        tasks[1].cancel()
        batch = Batch([(promise, None, 10.0) for promise in promises], single=True)
        assert batch.hand_out(IdBatch([(1, 4)])) == (1, 1, 0)
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, gone, last = asyncio.run(run())
    assert (first, last) == (1, 3)
    assert isinstance(gone, asyncio.CancelledError)
