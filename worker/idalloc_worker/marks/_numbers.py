"""Numbers what a worker tells all others, so that whoever hears it knows whether some is missing.

RabbitMQ drops the oldest messages of a fleet's queue that is full, or that wait there too long, and
says no word. Pure: it travels as the message id, `<name of the sender's channel>-<number>`.
"""

import secrets
from itertools import count
from typing import Final

MOST_SENDERS: Final = 1000
"""Names that are remembered: channels that spoke last, those that are closed by now among them."""


class SentNumbers:
    """What one channel publishes to all: the first is 1, and each one more than the one before."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(8)
        self._numbers = count(1)

    def next(self) -> str:
        """Make the id of the next message."""
        return f"{self._name}-{next(self._numbers)}"


class HeardNumbers:
    """The last number of each sender. AMQP keeps the order of one channel's messages in a queue."""

    def __init__(self, most: int = MOST_SENDERS) -> None:
        self._most = most
        self._last: dict[bytes, int] = {}

    def shows_gap(self, message_id: bytes | None) -> bool:
        """Take in a message; tell whether its sender's number is not the one that was due.

        Of an unknown sender any number will do; workers of earlier versions send none.
        """
        name, _, digits = (message_id or b"").rpartition(b"-")
        if not name or not digits.isdigit():
            return False
        number, last = int(digits), self._last.pop(name, None)
        self._last[name] = number  # at the end: those go first that have been silent for longest
        if len(self._last) > self._most:
            del self._last[next(iter(self._last))]
        return last is not None and number != last + 1

    def forget(self) -> None:
        """Begin anew: with another channel, or as a gap is known of."""
        self._last.clear()
