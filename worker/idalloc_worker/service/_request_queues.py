"""Sees that the queues of requests are there, as far as this worker's user may do that."""

import logging
from collections.abc import Callable

from idalloc_client.amqp import Channel, ChannelClosedByBroker, ReplyCode
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE
from idalloc_worker.counters import ThrottledLog

_log = logging.getLogger("idalloc.worker")


class RequestQueues:
    """Owned by the link's thread.

    Consuming is tried without declaring, since a least-privilege user may not declare; only where a
    queue is missing is it declared.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._throttled = ThrottledLog(_log)
        self._missing = False

    def declare_if_missing(self, channel: Channel) -> None:
        """Make them on a fresh channel, if that is why there is a fresh one."""
        if self._missing:
            self._missing = False
            # With no argument that a policy can set, their time to live included: whoever
            # declares them otherwise, a worker of another release say, would be refused.
            channel.queue_declare(ALLOC_QUEUE, durable=True)
            channel.queue_declare(HEALTH_QUEUE, durable=True)

    def on_lost(self, reason: BaseException) -> None:
        """Learn from the end of a channel."""
        if not isinstance(reason, ChannelClosedByBroker):
            return
        self._missing = reason.reply_code == ReplyCode.NOT_FOUND
        if reason.reply_code == ReplyCode.ACCESS_REFUSED:
            self._throttled.warning(
                self._clock(),
                "access refused",
                "RabbitMQ refuses this user: %s. It needs read permission on %s and %s, and "
                "configure permission to create them where they do not exist",
                reason.reply_text,
                ALLOC_QUEUE,
                HEALTH_QUEUE,
            )
