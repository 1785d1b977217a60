"""Which deliveries of one channel may be acknowledged, in as few frames as is safe."""

from collections import deque
from math import inf


class AckTracker:
    """Delivery tags of one channel: they count from 1 and mean nothing on any other channel."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()  # as delivered, less the finished ones at its head
        self._unfinished: set[int] = set()
        self._to_ack: list[int] = []

    @property
    def unfinished(self) -> int:
        """How many deliveries have no outcome yet."""
        return len(self._unfinished)

    def delivered(self, tag: int) -> None:
        """Note a delivery."""
        self._order.append(tag)
        self._unfinished.add(tag)

    def done(self, tag: int) -> None:
        """Note that a delivery was answered, and is to be acknowledged."""
        self._unfinished.remove(tag)
        self._to_ack.append(tag)

    def rejected(self, tag: int) -> None:
        """Note that the broker was told about a delivery otherwise."""
        self._unfinished.remove(tag)

    def flush(self) -> list[tuple[int, bool]]:
        """Hand over the acknowledgements to send now, as `(delivery_tag, multiple)`.

        `multiple` says "and every earlier one", so it ends where the first unfinished delivery
        begins. Its tag is one that is still open at the broker: a tag that was rejected already is
        unknown there, and would close the channel.
        """
        order = self._order
        while order and order[0] not in self._unfinished:
            order.popleft()
        gap = order[0] if order else inf
        tags, self._to_ack = sorted(self._to_ack), []
        before = [tag for tag in tags if tag < gap]
        acks = [(before[-1], len(before) > 1)] if before else []
        return acks + [(tag, False) for tag in tags if tag > gap]
