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

from idalloc_client._frames import Properties
from idalloc_client._link_thread import LinkThread
from idalloc_worker._session import Delivery

SLICE: Final = 256
"""Requests that are handled in a turn: some milliseconds."""

COMPANY: Final = 1.0
"""Seconds for which a user counts as there after it was seen."""


class Handle(Protocol):
    """Handles a request that came at one time and is looked at at another."""

    def __call__(
        self, delivery: Delivery, properties: Properties, body: bytes, came: float, now: float, /
    ) -> None:
        """Answer it, or have it answered."""


Held = tuple[Delivery, Properties, bytes, float]
"""A request, and when it came."""


class Turns:
    """Owned by `thread`. `handle` handles a request, `shed` refuses one, cheaply.

    One user may have `most` requests here; more are shed, but only while somebody else wants to be
    served too.
    """

    def __init__(
        self,
        handle: Handle,
        shed: Callable[[Delivery, Properties, float], None],
        thread: LinkThread,
        clock: Callable[[], float],
        *,
        most: int,
    ) -> None:
        self._handle = handle
        self._shed = shed
        self._call_soon = thread.link.call_soon  # at the end of a turn
        self._next_turn = thread.post
        self._clock = clock
        self._most = most
        self._due = False  # whether a turn will come by itself
        self._taken = 0  # in this turn
        self._held: dict[bytes | None, deque[Held]] = {}
        self._last_user: bytes | None = None  # of those that came to stand here
        self._last_came = -inf
        self._company_until = -inf

    def __len__(self) -> int:
        """How many requests stand here."""
        return sum(map(len, self._held.values()))

    def take(self, delivery: Delivery, properties: Properties, body: bytes, now: float) -> None:
        """Handle a request, now or when it is its user's turn."""
        if not self._taken:
            self._call_soon(self._end_turn)
        self._taken += 1
        if self._taken <= SLICE and not self._held:
            self._handle(delivery, properties, body, now, now)
        else:
            self._hold(delivery, properties, body, now)

    def clear(self) -> None:
        """Forget all: the broker delivers it to somebody else."""
        self._held.clear()

    def finish(self) -> None:
        """Handle all that is here."""
        while self._held:
            self._handle_next(self._clock())

    def _hold(self, delivery: Delivery, properties: Properties, body: bytes, now: float) -> None:
        user = delivery.user
        if user != self._last_user:
            if now - self._last_came < COMPANY:
                self._company_until = now + COMPANY
            self._last_user = user
        self._last_came = now
        theirs = self._held.setdefault(user, deque())
        if len(theirs) >= self._most and now < self._company_until:
            self._shed(delivery, properties, now)
        else:
            theirs.append((delivery, properties, body, now))

    def _end_turn(self) -> None:
        self._taken = 0
        self._go_on()

    def _go_on(self) -> None:
        if self._held and not self._due:
            self._due = True
            self._next_turn(self._serve)

    def _serve(self) -> None:
        self._due = False
        now = self._clock()
        for _ in range(SLICE):
            if not self._held:
                return
            self._handle_next(now)
        self._go_on()

    def _handle_next(self, now: float) -> None:
        user = next(iter(self._held))
        theirs = self._held.pop(user)
        held = theirs.popleft()
        if theirs:
            self._held[user] = theirs  # behind all others
        self._handle(*held, now)
