"""What one user sends to a partition beyond a measure is thrown away, and nobody else's."""

from collections.abc import Iterator

import pytest

from idalloc_worker.ordered._flood_guard import MOST, WINDOW, FloodGuard

_OF_FLOOD, _CALM = 75, 250


class Guarded:
    """A guard, and how many of some requests it lets through."""

    def __init__(self) -> None:
        self.now = 0.0
        self._guard = FloodGuard(lambda: self.now)

    def read(self, requests: int, user: bytes | None = b"greedy") -> int:
        return sum(not self._guard.refuses(user) for _ in range(requests))

    def windows(self, number: int) -> Iterator[None]:
        for _ in range(number):
            self.now += WINDOW
            yield


@pytest.fixture
def guarded() -> Guarded:
    """Give one that has seen nothing."""
    return Guarded()


def test_who_keeps_to_the_measure_is_read_for_good(guarded: Guarded) -> None:
    """That is thousands in a second."""
    assert [guarded.read(MOST) for _ in guarded.windows(10)] == [MOST] * 10


def test_a_flood_is_hardly_read_until_it_is_over(guarded: Guarded) -> None:
    """After a window with too many, few of each that follows, until one is calm."""
    assert guarded.read(MOST + 1) == MOST
    assert [guarded.read(_CALM + 1) for _ in guarded.windows(3)] == [_OF_FLOOD] * 3
    next(guarded.windows(1))
    assert guarded.read(_CALM) == _OF_FLOOD
    next(guarded.windows(1))
    assert guarded.read(MOST) == MOST


def test_a_flood_that_ended_is_forgotten(guarded: Guarded) -> None:
    """Who sent nothing for a while begins anew."""
    guarded.read(10 * MOST)
    guarded.now += 60.0
    guarded.read(1)
    guarded.now += WINDOW
    assert guarded.read(MOST) == MOST


def test_each_user_has_a_measure_of_its_own(guarded: Guarded) -> None:
    """Those that RabbitMQ does not vouch for share one."""
    guarded.read(10 * MOST)
    assert [guarded.read(MOST, user) for user in (b"alice", b"bob", None)] == [MOST] * 3
    next(guarded.windows(1))
    assert guarded.read(MOST) == _OF_FLOOD
    assert guarded.read(MOST, b"alice") == MOST
