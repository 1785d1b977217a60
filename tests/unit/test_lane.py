"""The callers of one tag stand in line: who has to wait again stands in front."""

from concurrent.futures import Future
from typing import Any

from idalloc_client._lane import Book, Lane


def test_who_was_not_served_comes_before_those_who_came_later() -> None:
    """First come, first served: also where a worker left in between, or had too few ids."""
    lane = Lane("order", Book(100), lambda _lane: None)
    first, second, third = (Future[Any]() for _ in range(3))
    for promise in (first, second):
        lane.join(promise, 10.0)
    gone = lane.take(10)
    lane.join(third, 10.0)
    lane.stand_in_front(gone.waiters)
    assert [waiter[0] for waiter in lane.take(10).waiters] == [first, second, third]
