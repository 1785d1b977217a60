"""How many channels a worker opens on its connection, where it may not have all that it wants.

Requests take one, the fleet one and now and then another one, ordered tags two, and questions to
the whole fleet about its health one. A connection has a limit of its own, which both ends agree on;
and a user may have one for all of its connections, which RabbitMQ tells by closing the connection
on which one channel too many is opened.
"""

from typing import Any, Final

from idalloc_client.amqp import Backoff, ConnectionClosed, ReplyCode

FOR_ALL: Final = 6
FOR_ORDERED: Final = 5
FOR_FLEET: Final = 2
FOR_REQUESTS: Final = 1

ADVICE: Final = (
    "its connection can use only %d of the 6 channels that a worker process needs: raise "
    "channel_max (in IDALLOC_AMQP_URL, or in RabbitMQ's configuration) or the user's limit "
    "max-channels"
)

_LEVELS: Final = (FOR_ALL, FOR_ORDERED, FOR_FLEET, FOR_REQUESTS)
_FIRST_RETRY, _LAST_RETRY = 60.0, 3600.0  # seconds


class ChannelBudget:
    """Owned by the link's thread. `channels` is how many the present connection may have."""

    def __init__(self) -> None:
        self.channels = FOR_ALL
        self._learned = FOR_ALL
        self._retries = Backoff(_FIRST_RETRY, _LAST_RETRY)

    @property
    def learned(self) -> bool:
        """Whether a connection was closed because it had more, and ids are missed for it.

        For the health of the fleet alone no connection is risked again.
        """
        return self._learned < FOR_ORDERED

    def begin(self, connection: Any) -> None:
        """Decide for a connection."""
        agreed = connection.params.channel_max or FOR_ALL
        self.channels = _level(min(agreed, self._learned))

    def on_lost(self, reason: BaseException) -> None:
        """Learn from the end of a connection."""
        if (
            isinstance(reason, ConnectionClosed)
            and reason.reply_code == ReplyCode.NOT_ALLOWED
            and "channel" in reason.reply_text
        ):
            self._learned = _level(max(self.channels - 1, FOR_REQUESTS))

    def next_retry(self) -> float:
        """Tell after how many seconds to try for all of them again: others of the user may end.

        Rarely, as a failure costs the connection.
        """
        return self._retries.next_delay()

    def forget(self) -> None:
        """Try for all of them on the next connection."""
        self._learned = FOR_ALL


def _level(channels: int) -> int:
    """Tell how many of so many are of use."""
    return next(level for level in _LEVELS if level <= channels)
