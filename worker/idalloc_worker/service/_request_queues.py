"""Sees that the queues of requests are there, as far as this worker's user may do that."""

import logging
from collections.abc import Callable
from typing import Final

from idalloc_client.amqp import Channel, ChannelClosedByBroker, ReplyCode
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE
from idalloc_worker.counters import ThrottledLog

_log = logging.getLogger("idalloc.worker")


_BOTH: Final = (ALLOC_QUEUE, HEALTH_QUEUE)
_NODE_IS_DOWN: Final = "is down or inaccessible"
"""What the broker says, also with 404, of a classic queue that is there, but on another node."""


class RequestQueues:
    """Owned by the link's thread.

    Consuming is tried without declaring, since a least-privilege user may not declare; where one is
    missing, most likely both are, and both are declared. One that is there may be of another type
    than what a declaration asks for: the broker refuses that, and from then on only the one that is
    missing is declared.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._throttled = ThrottledLog(_log)
        self._missing: tuple[str, ...] = ()
        self._one_by_one = False

    def declare_if_missing(self, channel: Channel) -> None:
        """Make them on a fresh channel, if that is why there is a fresh one."""
        missing, self._missing = self._missing, ()
        for queue in missing:
            # With no argument that a policy can set, their time to live included: whoever
            # declares them otherwise, a worker of another release say, would be refused. The type
            # is the virtual host's default.
            channel.queue_declare(queue, durable=True)

    def on_lost(self, reason: BaseException) -> None:
        """Learn from the end of a channel."""
        if not isinstance(reason, ChannelClosedByBroker):
            return
        code, text = reason.reply_code, reason.reply_text
        if code == ReplyCode.NOT_FOUND and _NODE_IS_DOWN in text:
            self._warn_of_node(text)
        elif code == ReplyCode.NOT_FOUND:
            named = tuple(queue for queue in _BOTH if f"'{queue}'" in text)
            self._missing = named if self._one_by_one and named else _BOTH
        elif code == ReplyCode.PRECONDITION_FAILED and "inequivalent arg" in text:
            self._one_by_one = True
        elif code == ReplyCode.ACCESS_REFUSED:
            if self._one_by_one:
                self._warn_of_rights(text)
            self._one_by_one = True  # it may have the right to make the one that is missing

    def _warn_of_node(self, told: str) -> None:
        self._throttled.warning(
            self._clock(),
            "node is down",
            "RabbitMQ says: %s. Nobody is served until that node is back; a quorum queue would go "
            "on without it (docs/clusters.md)",
            told,
        )

    def _warn_of_rights(self, told: str) -> None:
        self._throttled.warning(
            self._clock(),
            "access refused",
            "RabbitMQ refuses this user: %s. It needs read permission on %s and %s, and "
            "configure permission to create them where they do not exist",
            told,
            *_BOTH,
        )
