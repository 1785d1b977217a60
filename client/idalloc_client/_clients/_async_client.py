"""The client that the tasks of an asyncio loop share."""

import asyncio
import weakref
from asyncio import CancelledError, Future
from collections.abc import Iterable
from threading import get_ident
from time import monotonic
from typing import Any, Self

from idalloc_client._batch import IdBatch
from idalloc_client._clients._async_session import AsyncSession
from idalloc_client._errors import ClientClosedError, ForkedClientError, IdAllocError
from idalloc_client._rpc import check_draw, health_exchange
from idalloc_client._sequences import AsyncIdSequence, LeaseLimits, SequenceRoll, no_lease_in_time
from idalloc_client._stats import ClientStats, Tallies, capture, snapshot
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

_OTHER_LOOP = "this client is in use on another event loop: create one for each"
_LEASE_TIMEOUT = 30.0  # seconds: nobody waits for it in vain, the sequence has its own patience


class AsyncIdClient:
    """Asks idalloc for ids, from the tasks of one asyncio loop, over one connection.

    Calls that are made while others are in flight travel together, so that ten thousands of them
    a second are few messages. There is no thread: everything runs on the loop that the first call
    was made on, and on that one only. Tasks may be cancelled at any await. After a fork it serves
    the child on a loop of its own; on its parent's, calls raise `ForkedClientError`.

    Use it as an asynchronous context manager, or call `close`. The methods, errors and deadlines
    are those of `IdClient`.

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
        max_in_flight: int = 100_000,
        exchange: str = "",
        workers: str | Iterable[str] = (),
    ) -> None:
        self._timeout = checked_timeout(timeout)
        self._parameters = connection_parameters(url, name or process_name("client"))
        warn_of_cleartext(unencrypted_login(self._parameters))
        self._max_in_flight = max_in_flight
        self._exchange = checked_exchange(exchange)
        self._workers = user_ids(workers)
        self._tallies = Tallies()
        self._sequences = SequenceRoll()
        self._session: AsyncSession | None = None
        self._finalizer: weakref.finalize[..., AsyncIdClient] | None = None
        self._closed = False

    async def next_id(self, app_tag: str, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Return one id; see `IdClient.next_id`."""
        # The way of most calls, as short as it can be made: each step here costs every caller.
        session = self._session
        if (
            timeout is None
            and session is not None
            and session.thread_id == get_ident()
            and session.alive[0]
        ):
            lane = session.lanes.get(app_tag) if type(app_tag) is str else None
            if lane is not None:
                promise: Future[int] = session.create_future()
                deadline = monotonic() + self._timeout
                if capture is not None and not lane.waiting:
                    lane.carrier = capture()
                try:
                    if not lane.join(promise, deadline):
                        session.coalescer.refuse(promise)
                    elif deadline < session.sweep_at:
                        session.sweep_no_later_than(deadline)
                    drawn = await promise
                except CancelledError:
                    lane.plain = False  # one who waits has gone
                    raise
                except RuntimeError as error:  # asyncio's, for a task of another loop
                    promise.cancel()
                    lane.plain = False
                    raise RuntimeError(_OTHER_LOOP) from error
                if session.alive[0]:
                    return drawn
                raise ForkedClientError
        check_draw(app_tag)
        return int(await self._draw(app_tag, None, timeout))

    async def next_ids(
        self,
        app_tag: str,
        count: int,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # it travels with the request
    ) -> IdBatch:
        """Return `count` ids; see `IdClient.next_ids`."""
        check_draw(app_tag, count)
        drawn: IdBatch = await self._draw(app_tag, count, timeout)
        return drawn

    def sequence(
        self,
        app_tag: str,
        *,
        floor: int = 100,
        cap: int = 1_000_000,
        cover: float = 10.0,
        timeout: float | None = None,
    ) -> AsyncIdSequence:
        """Return an asynchronous iterator that leases ids ahead; see `IdClient.sequence`."""
        check_draw(app_tag)
        patience = self._timeout if timeout is None else checked_timeout(timeout)

        def lease(count: int) -> "asyncio.Future[IdBatch]":
            return self._usable().draw(app_tag, count, _LEASE_TIMEOUT)

        limits = LeaseLimits(floor, cap, cover)
        return AsyncIdSequence(lease, limits, patience, self._sequences, self._overdue)

    async def health(
        self,
        app_tag: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # it travels with the request
    ) -> HealthReply:
        """Return what one worker holds; see `IdClient.health`."""
        exchange = health_exchange(app_tag)
        return exchange.read(await self._usable().call(exchange, self._time(timeout)))

    async def fleet_health(
        self, app_tag: str | None = None, *, within: float = 1.0
    ) -> list[HealthReply]:
        """Return what every worker holds; see `IdClient.fleet_health`."""
        exchange = health_exchange(app_tag, fleet=True)
        replies = await self._usable().gather(exchange, checked_timeout(within))
        return [exchange.read(raw) for raw in replies]

    def stats(self) -> ClientStats:
        """Return what this client has done so far, and what waits now. It costs no message."""
        session, tallies = self._session, self._tallies
        if session is not None and session.process.gone:
            session, tallies = None, Tallies()  # those are the parent's
        return snapshot(
            tallies,
            waiting=session.waiting if session else 0,
            connected=session is not None and session.connected,
            sequences=self._sequences.stats(),
        )

    async def close(self) -> None:
        """End every call in flight with `ClientClosedError` and disconnect. Safe to repeat."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            if self._finalizer is not None:
                self._finalizer.detach()
            if not session.process.gone:
                await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _draw(self, app_tag: str, count: int | None, timeout: float | None) -> Any:  # noqa: ASYNC109  # it travels with the request
        session = self._usable()
        drawn = await session.draw(app_tag, count, self._time(timeout))
        if session.alive[0]:
            return drawn
        raise ForkedClientError  # the parent has the same answer

    def _overdue(self) -> IdAllocError:
        return self._session.overdue() if self._session is not None else no_lease_in_time()

    def _usable(self) -> AsyncSession:
        if self._closed:
            raise ClientClosedError("the client is closed")
        session = self._session
        if session is not None and session.process.gone:
            self._leave_to_parent(session)
            session = None
        loop = asyncio.get_running_loop()
        if session is None:
            session = self._session = AsyncSession(
                self._parameters,
                self._max_in_flight,
                self._timeout,
                self._tallies,
                loop,
                exchange=self._exchange,
                workers=self._workers,
            )
            # For a client that nobody refers to any more: its connection would stay for ever.
            self._finalizer = weakref.finalize(self, session.abandon)
            self._finalizer.atexit = False
        elif session.loop is not loop:
            raise RuntimeError(_OTHER_LOOP)
        return session

    def _leave_to_parent(self, session: AsyncSession) -> None:
        """Begin anew, in a child. Raises on the loop that it has from its parent."""
        if asyncio._get_running_loop() in (None, session.loop):  # noqa: SLF001  # documented so
            raise ForkedClientError
        if self._finalizer is not None:
            self._finalizer.detach()
        self._session, self._tallies = None, Tallies()

    def _time(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else checked_timeout(timeout)
