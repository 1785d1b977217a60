"""Acknowledges what was answered on one channel, in as few frames as is safe."""

from collections.abc import Callable

from idalloc_client.amqp import MessageChannel


class Acknowledgements:
    """Delivery tags of one channel: they count from 1 and mean nothing on any other channel.

    `call_soon` runs a callback once everything that was read in this turn has been handled, so
    that one acknowledgement serves all of it. `on_replied` is told then since when the requests
    had been here whose replies leave now: measured all at once, that costs next to nothing, and
    counts the wait for the batched write.
    """

    def __init__(
        self,
        channel: MessageChannel,
        call_soon: Callable[[Callable[[], None]], None],
        on_replied: Callable[[list[float]], None],
    ) -> None:
        self.replied: list[float] = []
        """Since when those had been here that were answered in this turn."""
        self._channel = channel
        self._call_soon = call_soon
        self._on_replied = on_replied
        self._first_open = 1  # the lowest tag that has no outcome yet
        self._ended: set[int] = set()  # tags that have one, from there on
        self._to_ack: list[int] = []
        self._flush_pending = False

    def done(self, tag: int) -> None:
        """Note that a delivery was answered, and acknowledge it at the end of this turn."""
        self._ended.add(tag)
        self._to_ack.append(tag)
        self.flush_soon()

    def rejected(self, tag: int) -> None:
        """Note that the broker was told about a delivery otherwise."""
        self._ended.add(tag)

    def flush_soon(self) -> None:
        """Send what is due at the end of this turn."""
        if not self._flush_pending:
            self._flush_pending = True
            self._call_soon(self.flush)

    def flush(self) -> None:
        """Send the acknowledgements that are due."""
        self._flush_pending = False
        if self._channel.is_open:
            for tag, multiple in self.take():
                self._channel.ack(tag, multiple=multiple)
            replied, self.replied = self.replied, []
            self._on_replied(replied)

    def take(self) -> list[tuple[int, bool]]:
        """Hand over the acknowledgements to send now, as `(delivery_tag, multiple)`.

        `multiple` says "and every earlier one", so it ends where the first unfinished delivery
        begins. Its tag is one that is still open at the broker: a tag that was rejected already is
        unknown there, and would close the channel.
        """
        while self._first_open in self._ended:
            self._ended.remove(self._first_open)
            self._first_open += 1
        gap = self._first_open
        tags, self._to_ack = sorted(self._to_ack), []
        before = [tag for tag in tags if tag < gap]
        acks = [(before[-1], len(before) > 1)] if before else []
        return acks + [(tag, False) for tag in tags if tag > gap]
