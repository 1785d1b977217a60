"""Answers those who ask the whole fleet for all tags: a few at a time.

Their calls come through the fleet's queue, where no prefetch holds them back, and each answer may
be some hundred kilobytes that go out over the connection that answers requests for ids.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from idalloc_schemas import HealthCall

AT_A_TIME: Final = 10
"""Answers on their way to the broker."""

MOST_WAITING: Final = 200
"""Calls; one more is dropped, and its caller gets the answers of others or asks again."""

PATIENCE: Final = 2.0
"""Seconds that a call may wait, about as long as callers do; and a batch for its confirms."""

Body = bytes | None


class Answers(Protocol):
    """Makes answers; see `HealthAnswers`."""

    def ask(self, waiter: Callable[[Body], None]) -> None:
        """Have `waiter` called with an answer that is begun from now on."""


class HealthCalls:
    """Owned by the link's thread. `send` answers one and calls back when the broker has it."""

    def __init__(
        self,
        answers: Answers,
        send: Callable[[HealthCall, bytes, Callable[[], None]], None],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
    ) -> None:
        self._answers = answers
        self._send = send
        self._later = later
        self._clock = clock
        self._waiting: deque[tuple[float, HealthCall]] = deque()
        self._batch: list[HealthCall] = []
        self._number = 0
        self._unconfirmed = 0

    def take(self, call: HealthCall) -> None:
        """Answer a call soon, unless too many wait."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append((self._clock() + PATIENCE, call))
            self._begin()

    def _begin(self) -> None:
        if self._batch:
            return
        now = self._clock()
        while self._waiting and len(self._batch) < AT_A_TIME:
            until, call = self._waiting.popleft()
            if now < until:
                self._batch.append(call)
        if self._batch:
            self._number += 1
            number = self._number
            self._answers.ask(lambda body: self._tell(number, body))

    def _tell(self, number: int, body: Body) -> None:
        if body is None:
            self._end(number)
            return
        self._unconfirmed = len(self._batch)
        # A channel that is lost confirms nothing.
        self._later(PATIENCE, lambda: self._end(number))
        for call in list(self._batch):
            self._send(call, body, lambda: self._confirmed(number))

    def _confirmed(self, number: int) -> None:
        if number == self._number:
            self._unconfirmed -= 1
            if not self._unconfirmed:
                self._end(number)

    def _end(self, number: int) -> None:
        if number == self._number and self._batch:
            self._batch = []
            self._begin()
