"""Which broker of several a link connects to, how long it waits for it, and what is told of it."""

import random
from collections.abc import Sequence
from copy import copy
from typing import Final, TypeVar

from pika.connection import Parameters

from idalloc_client.amqp._backoff import Backoff
from idalloc_client.amqp._broker_url import renewed
from idalloc_client.amqp._host_choice import HostChoice

FIRST_PATIENCE: Final = 1.5
"""Seconds for a broker to answer at first where there is another one; doubled at each failure."""

_Item = TypeVar("_Item")


def shuffled(brokers: Sequence[_Item]) -> list[_Item]:
    """Put brokers into an order by chance, so that clients spread over them.

    Not by the generator that a fork in C would copy.
    """
    return random.SystemRandom().sample(brokers, len(brokers))


def spread(brokers: Sequence[_Item], group: str, number: int) -> list[_Item]:
    """Put brokers into an order that begins with another one for each member of a group.

    Each group has an order of its own: by chance, and the same for all of its members.
    """
    order = random.Random(group).sample(brokers, len(brokers))  # noqa: S311  # no secret
    first = number % len(order)
    return order[first:] + order[:first]


class BrokerChoice:
    """The brokers of one link, in the order of preference; times are monotonic seconds.

    It stays with the one that works. Of a single one it only keeps `backoff`.
    """

    def __init__(self, brokers: Sequence[Parameters], backoff: Backoff) -> None:
        self._brokers = tuple(brokers)
        self._backoff = backoff
        self._choice = HostChoice(len(self._brokers))
        self._number = 0
        self._used: int | None = None
        self._reasons: dict[str, str] = {}  # why each was left, since one worked

    @property
    def several(self) -> bool:
        """Whether there is another one to go to."""
        return len(self._brokers) > 1

    def next(self, now: float) -> Parameters:
        """Choose the broker to connect to now, and say how.

        Files are read here, on the link's thread: secrets are small, mostly in memory, and nothing
        can go on before there is a login.
        """
        if not self.several:
            return renewed(self._brokers[self._number])
        self._number = next(iter(self._choice.order(now)), self._number)
        broker = copy(renewed(self._brokers[self._number]))
        patience = FIRST_PATIENCE * 2.0 ** min(self._choice.failures(self._number), 16)
        # For TCP, and for each of TLS and login.
        broker.socket_timeout = min(patience, broker.socket_timeout or patience)
        broker.stack_timeout = min(2 * patience, broker.stack_timeout or 2 * patience)
        return broker

    def in_turn(self) -> list[Parameters]:
        """List the brokers, the present one first."""
        return [*self._brokers[self._number :], *self._brokers[: self._number]]

    def serves(self, now: float) -> tuple[str, str] | None:
        """Note that the present one does; if it is another one than before, say which and why."""
        self._choice.worked(self._number, now)
        moved = self._used not in (None, self._number)
        told = (self._present, self._why()) if moved else None
        self._used = self._number
        self._reasons.clear()
        return told

    def failed(self, words: str, now: float, *, steady: bool) -> tuple[str, float]:
        """Note that the present one failed; say why none works, and after what pause one is tried.

        It rests longer each time, however well its logins go, until it was `steady`. The pause is
        in seconds.
        """
        if not self.several:
            if steady:
                self._backoff.reset()
            return words, self._backoff.next_delay()
        self._reasons[self._present] = words
        if steady:
            self._choice.wrote(self._number, now)
        self._choice.refused(self._number, now, now)
        return self._why(), self._choice.rest(now)

    def _why(self) -> str:
        return "; ".join(f"{broker}: {words}" for broker, words in self._reasons.items())

    @property
    def _present(self) -> str:
        broker = self._brokers[self._number]
        host = f"[{broker.host}]" if ":" in broker.host else broker.host
        return f"{host}:{broker.port}"
