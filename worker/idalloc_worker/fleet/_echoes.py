"""Messages that a worker sends to itself: when one is back, all that was sent before it is read."""

import secrets
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Final

from idalloc_client.amqp import Callback, Timer

CATCH_UP_LONGEST: Final = 0.5
"""Seconds: then a row that lies too low is repaired on suspicion."""

_SECRET_BITS: Final = 62


class Echoes:
    """Owned by the link's thread. `send` sends a number to the worker's own queue."""

    def __init__(
        self,
        send: Callable[[int], None],
        call_later: Callable[[float, Callback], Timer],
        clock: Callable[[], float],
    ) -> None:
        self._send = send
        self._call_later = call_later
        self._clock = clock
        # Nobody else can guess one: an echo that is not one's own would end a claim too early.
        self._numbers = count(secrets.randbits(_SECRET_BITS) + 1)
        self._echoes: dict[int, tuple[Callback, float]] = {}
        self._catch_ups: dict[int, Callback] = {}

    @property
    def waiting_since(self) -> float:
        """When the oldest was sent that is not back; `inf` if all are."""
        return next((at for _, at in self._echoes.values()), inf)

    def echo(self, on_back: Callback) -> None:
        """Send one; `on_back` when it comes, or never."""
        number = next(self._numbers)
        self._echoes[number] = on_back, self._clock()
        self._send(number)

    def back(self, number: int) -> None:
        """Take one that came."""
        on_back, _ = self._echoes.pop(number, (None, 0.0))
        if on_back is not None:
            on_back()

    def forget(self) -> None:
        """Have none come back: the channel has ended."""
        self._echoes.clear()

    def catch_up(self, on_done: Callback, *, send: bool) -> None:
        """Call back once one is back, or time is up; it is sent by `resume` if not now."""
        number = next(self._numbers)

        def caught_up() -> None:
            if self._catch_ups.pop(number, None) is not None:
                on_done()

        self._catch_ups[number] = caught_up
        self._call_later(CATCH_UP_LONGEST, caught_up)
        if send:
            self.echo(caught_up)

    def resume(self, *, send: bool) -> None:
        """Send again for those that wait to catch up, or let them: there is nobody to hear."""
        for caught_up in list(self._catch_ups.values()):
            if send:
                self.echo(caught_up)
            else:
                caught_up()
