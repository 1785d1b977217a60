"""Acknowledges what was answered on one channel, in as few frames as is safe.

Each frame costs the broker a message between its processes, and on a quorum queue an entry in a log
that is flushed to disk, which the next request waits for. So an acknowledgement may be held back
for a moment, to be one with later ones (`benchmarks/races/quorum.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from idalloc_client.amqp import MessageChannel

HELD_FOR: Final = 0.01
"""Seconds for which an acknowledgement is held back, at most; measured: 0.05 saves no more."""

_MOST_HELD: Final = 64
"""Measured: 256 save no more. If the channel ends in that time, fewer requests than this, and those
of the turn, are answered once more by somebody else, which wastes their ids."""

_OF_PREFETCH: Final = 8
"""What is held back takes places of the prefetch, and may have one in so many."""


@dataclass(frozen=True)
class Holding:
    """`most` are sent at once, fewer may wait; `call_later` wakes whoever holds them back."""

    most: int
    call_later: Callable[[float, Callable[[], None]], object]

    @classmethod
    def within(
        cls, prefetch: int, call_later: Callable[[float, Callable[[], None]], object]
    ) -> "Holding":
        """Hold back so few that the broker always has places to deliver to."""
        return cls(max(min(prefetch // _OF_PREFETCH, _MOST_HELD), 1), call_later)


class Acknowledgements:
    """Delivery tags of one channel: they count from 1 and mean nothing on any other channel.

    `call_soon` runs a callback once everything that was read in this turn has been handled, so
    that one acknowledgement serves all of it; with `holding`, it may serve some turns. `on_replied`
    is told at the end of a turn since when the requests had been here whose replies leave then:
    measured all at once, that costs next to nothing, and counts the wait for the batched write.
    """

    def __init__(
        self,
        channel: MessageChannel,
        call_soon: Callable[[Callable[[], None]], None],
        on_replied: Callable[[list[float]], None],
        holding: Holding | None = None,
    ) -> None:
        self.replied: list[float] = []
        """Since when those had been here that were answered in this turn."""
        self._channel = channel
        self._call_soon = call_soon
        self._on_replied = on_replied
        self._holding = holding
        self._first_open = 1  # the lowest tag that has no outcome yet
        self._ended: set[int] = set()  # tags that have one, from there on, beside those to send
        self._to_ack: list[int] = []
        self._flush_pending = False
        self._timed = False  # whether what is held back will be sent

    def done(self, tag: int) -> None:
        """Note that a delivery was answered, and acknowledge it at the end of this turn or soon."""
        self._to_ack.append(tag)
        self.flush_soon()

    def rejected(self, tag: int) -> None:
        """Note that the broker was told about a delivery otherwise."""
        self._ended.add(tag)

    def flush_soon(self) -> None:
        """Send what is due, and tell of the replies, at the end of this turn."""
        if not self._flush_pending:
            self._flush_pending = True
            self._call_soon(self._end_turn)

    def flush(self) -> None:
        """Send all acknowledgements, and from now on each at the end of its turn."""
        self._holding = None
        self._end_turn()

    def _end_turn(self) -> None:
        self._flush_pending = False
        holding = self._holding
        if holding is None or len(self._to_ack) >= holding.most:
            self._send()
        elif self._to_ack and not self._timed:
            self._timed = True
            holding.call_later(HELD_FOR, self._on_time)
        if self._channel.is_open:
            replied, self.replied = self.replied, []
            self._on_replied(replied)

    def _on_time(self) -> None:
        self._timed = False
        self._send()

    def _send(self) -> None:
        if self._channel.is_open:
            for tag, multiple in self.take():
                self._channel.ack(tag, multiple=multiple)

    def take(self) -> list[tuple[int, bool]]:
        """Hand over the acknowledgements to send now, as `(delivery_tag, multiple)`.

        `multiple` says "and every earlier one", so it ends where the first unfinished delivery
        begins. Its tag is one that is still open at the broker: a tag that was rejected already is
        unknown there, and would close the channel.
        """
        tags, self._to_ack = sorted(self._to_ack), []
        run = [*range(self._first_open, self._first_open + len(tags))]
        if tags and tags == run and not self._ended:  # usually
            self._first_open += len(tags)
            return [(tags[-1], len(tags) > 1)]
        self._ended.update(tags)
        while self._first_open in self._ended:
            self._ended.remove(self._first_open)
            self._first_open += 1
        gap = self._first_open
        before = [tag for tag in tags if tag < gap]
        acks = [(before[-1], len(before) > 1)] if before else []
        return acks + [(tag, False) for tag in tags if tag > gap]
