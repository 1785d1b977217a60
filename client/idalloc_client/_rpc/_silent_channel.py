"""Tells when a channel takes requests of which the broker takes none, nor ever will.

A channel of RabbitMQ 3.10 that first uses a quorum queue in the moment in which its leader dies
asks for that node ever after, and refuses all messages for the queue until the node is back
(`rabbit_fifo_client:enqueue`). The connection lives; only another channel helps.
"""

from typing import Final

FIRST: Final = 1.5
"""Seconds before a channel is given up; doubled each time that the next one is no better: the queue
may be full, and all that waits is sent again then."""
LONGEST: Final = 30.0


class SilentChannel:
    """Times are monotonic seconds; `begin` to `end` is the life of one channel in confirm mode."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._longest = FIRST

    def begin(self, now: float) -> None:
        """Hear that the broker is to say of each request from now on whether it took it."""
        self._since = now

    def taken(self) -> None:
        """Hear that it took one: the channel is not to blame for what is late."""
        self._since = None
        self._longest = FIRST

    def end(self) -> None:
        """Forget the channel."""
        self._since = None

    def given_up(self, now: float) -> bool:
        """Whether to try another channel; said once of each."""
        if self._since is None or now - self._since < self._longest:
            return False
        self._since = None
        self._longest = min(2 * self._longest, LONGEST)
        return True
