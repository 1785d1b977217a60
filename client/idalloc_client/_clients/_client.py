"""The client that threads share."""

import weakref
from collections.abc import Callable, Iterable
from typing import Self

from idalloc_client._batch import IdBatch
from idalloc_client._clients._session import RpcClient
from idalloc_client._errors import IdAllocError
from idalloc_client._rpc import check_draw, health_exchange
from idalloc_client._sequences import IdSequence, LeaseLimits, SequenceRoll, new_sequence
from idalloc_client._stats import ClientStats
from idalloc_client.amqp import (
    checked_exchange,
    checked_timeout,
    connection_parameters,
    process_name,
    unencrypted_login,
    user_ids,
    warn_of_cleartext,
)
from idalloc_schemas import HealthReply

_CLOSE_TIMEOUT = 5.0  # seconds
_LEASE_TIMEOUT = 30.0  # seconds: nobody waits for it in vain, the sequence has its own patience


class IdClient:
    """Asks idalloc for ids. One client serves all threads of a process over one connection.

    Use it as a context manager, or call `close`. It connects at the first call, reconnects by
    itself, and sends a call that was in flight again within its deadline; a repeat can only waste
    ids. After a fork it serves the child as well, with a connection of its own.

    Args:
        url: `amqp://user:password@host:port/vhost`, with pika's URL options.
        timeout: seconds that a call may take when it does not say so itself.
        name: what the management UI shows; by default product, role, host and process id.
        max_in_flight: calls that may wait at one time; one more raises `TooManyCallsError`.
        exchange: where requests go; `id.requests` for a user who may write to nothing else, by
            default the default exchange.
        workers: the RabbitMQ users that workers log in with, one name or several. A reply that the
            broker does not vouch for as one of theirs is ignored then; without it all count.
    """

    def __init__(  # noqa: PLR0913  # a user's options
        self,
        url: str,
        *,
        timeout: float = 5.0,
        name: str | None = None,
        max_in_flight: int = 10_000,
        exchange: str = "",
        workers: str | Iterable[str] = (),
    ) -> None:
        self._timeout = checked_timeout(timeout)
        parameters = connection_parameters(url, name or process_name("client"))
        warn_of_cleartext(unencrypted_login(parameters))
        self._rpc = RpcClient(
            parameters,
            max_in_flight=max_in_flight,
            timeout=timeout,
            exchange=checked_exchange(exchange),
            workers=user_ids(workers),
        )
        self._sequences = SequenceRoll()
        # Also at exit and when nobody refers to the client any more: the broker gets a goodbye.
        self._finalizer = weakref.finalize(self, self._rpc.close, _CLOSE_TIMEOUT)

    def next_id(self, app_tag: str, *, timeout: float | None = None) -> int:
        """Return one id, higher than every earlier one of the same worker.

        Args:
            app_tag: the tag's name.
            timeout: seconds for the whole call; the worker drops the request when they are over.

        Raises:
            IdAllocError: one of its subclasses, by the deadline at the latest.
        """
        drawn: int = self._rpc.draw(app_tag, None, self._time(timeout))
        return drawn

    def next_ids(self, app_tag: str, count: int, *, timeout: float | None = None) -> IdBatch:
        """Return `count` ids in increasing order; they need not be contiguous.

        Args:
            app_tag: the tag's name.
            count: how many; workers allow 1,000,000 a call unless they are configured otherwise.
            timeout: seconds for the whole call; the worker drops the request when they are over.

        Raises:
            IdAllocError: one of its subclasses, by the deadline at the latest.
        """
        drawn: IdBatch = self._rpc.draw(app_tag, count, self._time(timeout))
        return drawn

    def sequence(
        self,
        app_tag: str,
        *,
        floor: int = 100,
        cap: int = 1_000_000,
        cover: float = 10.0,
        timeout: float | None = None,
    ) -> IdSequence:
        """Return an endless iterator that leases ids ahead: `next()` costs what a counter's costs.

        A lease follows the rate of use, so that it lasts about `cover` seconds, between `floor` and
        `cap` ids. Up to three of them are in memory: that long an outage goes unnoticed, and that
        many ids are left unused when it is closed. Ids rise within a lease, but other callers get
        higher ones before this caller gets to the end of its lease.

        Args:
            app_tag: the tag's name.
            floor: ids in the smallest lease.
            cap: ids in the largest lease; not above what the workers allow in one call.
            cover: seconds that one lease should last.
            timeout: seconds that `next` may wait when nothing is left; by default the client's.

        Raises:
            InvalidRequestError: for a bad tag.
            ValueError: for bad limits.
        """
        check_draw(app_tag)
        limits = LeaseLimits(floor, cap, cover)

        def lease(count: int, on_answer: Callable[[IdBatch | IdAllocError], None]) -> None:
            self._rpc.draw_later(app_tag, count, _LEASE_TIMEOUT, on_answer)

        patience = self._timeout if timeout is None else checked_timeout(timeout)
        return new_sequence(lease, limits, patience, self._sequences, self._rpc.overdue)

    def health(self, app_tag: str | None = None, *, timeout: float | None = None) -> HealthReply:
        """Return what one worker holds of a tag, or of every tag that this user may draw from.

        Which worker answers is the broker's choice. Operators are told more.

        Raises:
            IdAllocError: one of its subclasses, by the deadline at the latest.
        """
        exchange = health_exchange(app_tag)
        return exchange.read(self._rpc.call(exchange, self._time(timeout)))

    def fleet_health(self, app_tag: str | None = None, *, within: float = 1.0) -> list[HealthReply]:
        """Return what every worker holds, in the order of their names.

        Nobody knows how many workers there are, so this collects their answers for as long as it
        is told. A tag that a worker was never asked for is cold there, which is healthy.

        Args:
            app_tag: the tag's name, or None for every tag that this user may draw from.
            within: seconds for which answers are collected.

        Raises:
            IdAllocError: one of its subclasses, if no worker answered, or one could not.
        """
        exchange = health_exchange(app_tag, fleet=True)
        return [exchange.read(raw) for raw in self._rpc.gather(exchange, checked_timeout(within))]

    def stats(self) -> ClientStats:
        """Return what this client has done so far, and what waits now. It costs no message."""
        return self._rpc.stats(self._sequences.stats())

    def close(self) -> None:
        """End every call in flight with `ClientClosedError` and disconnect. Safe to repeat."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _time(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else checked_timeout(timeout)
