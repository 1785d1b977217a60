"""A flood of one user's requests waits for its own; others are served between two slices of it."""

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from idalloc_client.amqp._io._frames import Properties
from idalloc_worker.engine._fair_share import COMPANY
from idalloc_worker.service._turns import SLICE, Turns

NAMES = {"greedy": b"greedy", "shop": b"shop", "nobody": None}


class Loop:
    """Turns of a loop, and what was handled in them, as `(user, number)`."""

    def __init__(self, most: int = 1000) -> None:
        self.now = 0.0
        self.handled: list[tuple[str, int]] = []
        self.shed: list[tuple[str, int]] = []
        self.waited: list[float] = []
        self._posted: deque[Callable[[], None]] = deque()
        self.turns = Turns(self._handle, self._shed, self._posted.append, (4 * most + 2) // 3)

    def _handle(self, delivery: Any, _properties: Properties, _body: bytes, came: float, /) -> None:
        self.handled.append(delivery.what)
        self.waited.append(self.now - came)

    def _shed(self, delivery: Any, _properties: Properties, _now: float) -> None:
        self.shed.append(delivery.what)

    def read(self, *whats: tuple[str, int]) -> None:
        """Let what is due go on, and read some requests in the same turn."""
        posted = len(self._posted)
        for what in whats:
            delivery: Any = SimpleNamespace(user=NAMES[what[0]], what=what)
            self.turns.taken += 1
            if self.turns.held or self.turns.taken > SLICE:
                self.turns.hold(delivery, Properties(), b"", self.now)
            else:
                self._handle(delivery, Properties(), b"", self.now)
        self.turns.taken = 0
        for _ in range(posted):
            self._posted.popleft()()

    def run(self) -> None:
        """Go on until nothing stands here."""
        while len(self.turns):
            self.read()


def many(user: str, count: int, start: int = 0) -> list[tuple[str, int]]:
    return [(user, number) for number in range(start, start + count)]


def test_a_request_is_handled_as_it_comes() -> None:
    """Up to a slice in a turn nothing stands anywhere."""
    loop = Loop()
    for turn in range(5):
        loop.read(*many("shop", SLICE, turn * SLICE))
        assert len(loop.turns) == 0
    assert loop.handled == many("shop", 5 * SLICE)


def test_a_request_does_not_wait_for_a_flood() -> None:
    """It came behind two thousand of somebody else, and is handled in the next turn."""
    loop = Loop(most=10_000)
    loop.read(*many("greedy", 2000), ("shop", 1))
    assert len(loop.handled) == SLICE
    loop.read()
    assert ("shop", 1) in loop.handled
    assert len(loop.handled) == 2 * SLICE


def test_no_turn_handles_more_than_a_slice() -> None:
    """However much is read in each, and also with one user; the rest comes by itself."""
    loop = Loop(most=10_000)
    before = 0
    for turn in range(6):
        loop.read(*many("greedy", 400, turn * 400))
        assert len(loop.handled) - before <= SLICE
        before = len(loop.handled)
    loop.run()
    assert loop.handled == many("greedy", 2400)


def test_a_lone_user_is_never_refused() -> None:
    """However many requests stand here."""
    loop = Loop(most=100)
    loop.read(*many("greedy", 2000))
    loop.run()
    assert len(loop.handled) == 2000
    assert loop.shed == []


def test_beside_others_what_is_too_much_is_refused() -> None:
    """The newest of the flood; nobody else's, and no longer than somebody else is there."""
    loop = Loop(most=100)
    loop.read(*many("nobody", SLICE), ("shop", 1), *many("greedy", 150), ("shop", 2))
    assert loop.shed == many("greedy", 50, 100)
    loop.now = COMPANY + 0.1
    loop.read(*many("greedy", 300, 150))
    loop.run()
    assert len(loop.shed) == 50
    assert {("shop", 1), ("shop", 2)} <= set(loop.handled)


def test_while_a_flood_is_refused_less_of_it_is_handled() -> None:
    """So that it is used up faster; somebody else's request goes first all the same."""
    loop = Loop(most=100)
    loop.read(*many("nobody", SLICE), ("shop", 1), *many("greedy", 300))
    assert len(loop.shed) == 200
    loop.read()
    assert ("shop", 1) in loop.handled
    assert len(loop.handled) == SLICE + SLICE // 8
    loop.read()
    assert len(loop.turns) == 0


def test_the_time_counts_from_when_it_came() -> None:
    """So that what waited here past its deadline is dropped."""
    loop = Loop()
    loop.read(*many("shop", SLICE + 1))
    loop.now = 3.0
    loop.run()
    assert loop.waited == [0.0] * SLICE + [3.0]


def test_what_stands_here_can_be_forgotten_or_finished() -> None:
    """When the channel is lost the broker delivers it elsewhere; a worker that stops answers it."""
    loop = Loop()
    loop.read(*many("shop", 400))
    loop.turns.clear()
    loop.read()
    assert len(loop.handled) == SLICE
    loop.read(*many("shop", 400))
    loop.turns.finish()
    assert len(loop.handled) == SLICE + 400
    loop.read()
    assert len(loop.handled) == SLICE + 400


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(sorted(NAMES)), st.integers(1, 400)), max_size=4),
        max_size=6,
    )
)
def test_every_request_ends_once_and_in_order(turns: list[list[tuple[str, int]]]) -> None:
    """Those of one user in the order in which they came."""
    loop = Loop(most=300)
    counts = dict.fromkeys(NAMES, 0)
    for turn in turns:
        for user, count in turn:
            loop.read(*many(user, count, counts[user]))
            counts[user] += count
    loop.run()
    for user, count in counts.items():
        handled = [number for name, number in loop.handled if name == user]
        refused = [number for name, number in loop.shed if name == user]
        assert handled == sorted(handled)
        assert sorted(handled + refused) == list(range(count))
