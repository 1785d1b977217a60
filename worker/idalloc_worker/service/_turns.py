"""Shares the worker's time among users: who sends many requests at once waits for its own.

Requests are handled as they come, until more come in one turn of the loop than a turn should take.
The rest stands in a queue for each user, and users take turns: so a request of somebody who sends
few waits for a slice of a flood, not for all of it. What stands here is not acknowledged, so that
the broker's prefetch bounds it.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from idalloc_client.amqp import Properties
from idalloc_worker.engine import COMPANY
from idalloc_worker.requests import Delivery

SLICE: Final = 256
"""Requests that are handled in a turn: some milliseconds."""


class Handle(Protocol):
    """Handles a request that came some time ago."""

    def __call__(
        self, delivery: Delivery, properties: Properties, body: bytes, came: float, /
    ) -> None:
        """Answer it, or have it answered."""


class Turns:
    """Owned by the link's thread, for which `post` sets tasks.

    `handle` handles a request, `shed` refuses one, cheaply.

    One user may have three quarters of the `prefetch` here; more is shed, but only while somebody
    else wants to be served too.
    """

    def __init__(
        self,
        handle: Handle,
        shed: Callable[[Delivery, Properties, float], None],
        post: Callable[[Callable[[], None]], None],
        prefetch: int,
    ) -> None:
        self.taken = 0
        """Requests of this turn; who reads them counts; measured: 2 % of CPU time."""
        self.held: dict[bytes | None, deque[tuple[Delivery, Properties, bytes, float]]] = {}
        """What stands here, by user: whatever comes then stands here too."""
        self._handle = handle
        self._shed = shed
        self._next_turn = post
        self._most = max(prefetch * 3 // 4, 1)  # the broker goes on to deliver others'
        self._due = False  # whether the next turn is asked for
        self._shedding = False  # since the last turn: then a turn is short, so that more is shed
        self._last_user: bytes | None = None  # of those that came to stand here
        self._last_came = -inf
        self._company_until = -inf

    def __len__(self) -> int:
        """How many requests stand here."""
        return sum(map(len, self.held.values()))

    def hold(self, delivery: Delivery, properties: Properties, body: bytes, now: float) -> None:
        """Let a request wait for its user's turn, or refuse it."""
        user = delivery.user
        if user != self._last_user:
            if now - self._last_came < COMPANY:
                self._company_until = now + COMPANY
            self._last_user = user
        self._last_came = now
        theirs = self.held.setdefault(user, deque())
        if len(theirs) >= self._most and now < self._company_until:
            self._shed(delivery, properties, now)
            self._shedding = True
        else:
            theirs.append((delivery, properties, body, now))
            self._go_on()

    def clear(self) -> None:
        """Forget all: the broker delivers it to somebody else."""
        self.held.clear()
        self.taken = 0

    def finish(self) -> None:
        """Handle all that is here."""
        while self.held:
            self._handle_next()

    def _go_on(self) -> None:
        if not self._due:
            self._due = True
            self._next_turn(self._serve)

    def _serve(self) -> None:
        self._due = False
        self.taken = 0
        slice_, self._shedding = SLICE // 8 if self._shedding else SLICE, False
        for _ in range(slice_):
            if not self.held:
                return
            self._handle_next()
        if self.held:
            self._go_on()

    def _handle_next(self) -> None:
        user = next(iter(self.held))
        theirs = self.held.pop(user)
        request = theirs.popleft()
        if theirs:
            self.held[user] = theirs  # behind all others
        self._handle(*request)
