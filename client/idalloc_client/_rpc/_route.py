"""Through which exchange a request goes: to a worker beside it, where there is one, or to any."""

import logging
from math import inf
from typing import Final

from idalloc_client._errors import AccessRefusedError, IdAllocError, NoRouteError
from idalloc_client.amqp import ChannelClosedByBroker, ReplyCode, describe
from idalloc_schemas import ALLOC_QUEUE, LOCAL_EXCHANGE

_log = logging.getLogger("idalloc.client")

NO_WORKER_HERE: Final = 5.0
"""Seconds for which requests go around the exchange after one came back: no worker is there."""

NO_OWNER: Final = 60.0
"""Seconds for which requests for ordered tags go to any worker, after one came to nothing at its
owner's queue: that may be full, or have an owner of an earlier version, which does not read it."""

NO_EXCHANGE: Final = 60.0
"""Seconds for which they do after the broker has refused the exchange: each try costs a channel."""

_DEFAULT_EXCHANGE = b""


class Route:
    """The way from one client; times are monotonic seconds.

    Only `LOCAL_EXCHANGE` has a way around it: the default exchange, to the queue that all workers
    share. Health is asked there too, and so is what is sent again: a worker that is near and frozen
    must not get it once more.
    """

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange.encode()
        """What requests are sent through unless `other` says otherwise."""
        self._local = exchange == LOCAL_EXCHANGE
        self._around_until = -inf
        self._no_owner_until = -inf

    def to_owner(self, shortcut: str | None, now: float) -> str | None:
        """Name the owner's queue for a request, unless an operator chose an exchange for it."""
        return None if self.exchange or now < self._no_owner_until else shortcut

    def owner_missed(self, now: float) -> None:
        """Hear that a request came to nothing in the queue of its tag's owner."""
        self._no_owner_until = now + NO_OWNER

    def other(self, queue: str, now: float, *, again: bool) -> bytes | None:
        """Name another exchange for a request; None if it goes the usual way."""
        if self._local and (again or now < self._around_until or queue != ALLOC_QUEUE):
            return _DEFAULT_EXCHANGE
        return None

    def returned(self, exchange: str, now: float) -> bool:
        """Hear that a request came back from an exchange; tell whether there is another way."""
        if exchange != LOCAL_EXCHANGE:
            return False
        self._around_until = max(self._around_until, now + NO_WORKER_HERE)
        return True

    def refused(self, reason: ChannelClosedByBroker, now: float) -> IdAllocError | None:
        """Hear why the broker closed a channel.

        Return what to tell callers, where to send again is of no use: only an operator can help.
        """
        exchange = self.exchange.decode()
        refused = reason.reply_code in (ReplyCode.ACCESS_REFUSED, ReplyCode.NOT_FOUND)
        if refused and self._local and f"'{LOCAL_EXCHANGE}'" in reason.reply_text:
            _log.info("Requests go to any worker: %s", describe(reason))
            self._around_until = now + NO_EXCHANGE
        elif reason.reply_code == ReplyCode.ACCESS_REFUSED:
            where = f"exchange {exchange}" if exchange else "default exchange"
            return AccessRefusedError(
                "the broker refuses this user the right to send requests (write to the "
                f"{where}): {describe(reason)}"
            )
        elif reason.reply_code == ReplyCode.NOT_FOUND and exchange:
            return NoRouteError(ALLOC_QUEUE, exchange)
        return None
