"""Channels that gave way to another one, for as long as they have answers to bring."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from idalloc_client.amqp import MessageChannel


class RetiredChannels:
    """Those of one connection; nothing is sent on them any more."""

    def __init__(self) -> None:
        self._channels: list[tuple[MessageChannel, frozenset[bytes]]] = []

    def __bool__(self) -> bool:
        return bool(self._channels)

    def add(self, channel: MessageChannel, calls: Iterable[bytes]) -> None:
        """Keep a channel for the answers to those calls."""
        self._channels.append((channel, frozenset(calls)))

    def expect_nothing(self) -> None:
        """Hear that all calls are asked again elsewhere."""
        self._channels = [(channel, frozenset()) for channel, _ in self._channels]

    def close_idle(self, waiting: AbstractSet[bytes]) -> set[bytes]:
        """Close those with no call that still waits; return such calls of those that were lost.

        The link tells of the end of its present channel only.
        """
        lost: set[bytes] = set()
        for each in self._channels.copy():
            channel, calls = each
            left = calls & waiting
            if channel.is_open and left:
                continue
            self._channels.remove(each)
            if channel.is_open:
                channel.pika_channel.close()
            else:
                lost |= left
        return lost
