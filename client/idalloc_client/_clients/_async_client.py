"""The client that the tasks of an asyncio loop share."""

import asyncio
import weakref
from asyncio import AbstractEventLoop, Future
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol, Self

from idalloc_client._batch import IdBatch, PeriodError, PeriodId, without_period
from idalloc_client._clients._async_session import AsyncLinkSession
from idalloc_client._errors import ClientClosedError, ForkedClientError, IdAllocError
from idalloc_client._memory import Mark
from idalloc_client._options import ConfiguredClient
from idalloc_client._rpc import (
    RawReply,
    RequestSpec,
    check_draw,
    health_request,
    prepare_for_refusals,
)
from idalloc_client._sequences import (
    AsyncIdSequence,
    LeaseLimits,
    SequenceRegistry,
    no_lease_in_time,
)
from idalloc_client._stats import ClientCounters, ClientStats, snapshot
from idalloc_client.amqp import checked_timeout

if TYPE_CHECKING:  # it loads pydantic, and only who asks for health needs it
    from idalloc_schemas import HealthReply

_OTHER_LOOP = "this client is in use on another event loop: create one for each"


class AsyncSession(Protocol):
    """Whoever answers an `AsyncIdClient` on one loop: a connection, or a fake."""

    loop: AbstractEventLoop
    alive: Mark
    """At index 0, whether this is still the process of the loop."""

    @property
    def connected(self) -> bool:
        """Whether requests leave at once."""

    @property
    def waiting(self) -> int: ...

    def start(self) -> None: ...

    def ask(self, app_tag: str, /) -> Awaitable[int | None]:
        """Draw one id with the client's timeout; None if that is not possible the short way."""

    def draw(self, app_tag: str, count: int | None, timeout: float) -> "Future[Any]":
        """Draw ids: an int where `count` is None, else an `IdBatch`. `app_tag` is valid."""

    def lease(self, app_tag: str, count: int, timeout: float) -> "Future[IdBatch]":
        """Draw ids for a sequence, which hears the first answer."""

    async def call(self, spec: RequestSpec[Any], timeout: float) -> RawReply:  # noqa: ASYNC109  # it travels along
        """Send a request by itself; after so many seconds, raise why there is no reply."""

    async def gather(self, spec: RequestSpec[Any], within: float) -> list[RawReply]:
        """Send a request that several answer, and collect replies for so many seconds."""

    def overdue(self) -> IdAllocError:
        """Say why ids that were asked for are not there in time."""

    async def close(self) -> None:
        """End every call with `ClientClosedError`, and disconnect."""

    def abandon(self) -> None:
        """Disconnect without waiting; the garbage collector may call it, on any thread."""


class AsyncIdClient(ConfiguredClient):
    """Asks idalloc for ids, from the tasks of one asyncio loop, over one connection.

    Calls that are made while others are in flight share requests, so that tens of thousands of
    calls a second need few messages. There is no thread: everything runs on the loop that the first
    call was made on, and on that one only. Tasks may be cancelled at any await. After a fork it
    serves the child on a loop of its own; on its parent's, calls raise `ForkedClientError`.

    Use it as an asynchronous context manager, or call `close`. The methods, errors and deadlines
    are those of `IdClient`; a call on another loop raises RuntimeError.
    """

    _MAX_IN_FLIGHT = 100_000

    def _begin(self) -> None:
        self._counters = ClientCounters()
        self._sequences = SequenceRegistry()
        self._session: AsyncSession | None = None
        self._finalizer: weakref.finalize[..., AsyncIdClient] | None = None
        self._closed = False
        prepare_for_refusals()

    def _new_session(self, loop: AbstractEventLoop) -> AsyncSession:
        return AsyncLinkSession(self._options, self._counters, loop)

    async def next_id(self, app_tag: str, *, timeout: float | None = None) -> int:  # noqa: ASYNC109
        """Return one id; see `IdClient.next_id`."""
        session = self._session
        if timeout is None and session is not None:
            try:
                drawn = await session.ask(app_tag)
            except RuntimeError as error:  # asyncio's, for a task of another loop
                raise RuntimeError(_OTHER_LOOP) from error
            if drawn is not None:
                if session.alive[0]:
                    return drawn
                raise ForkedClientError  # the parent has the same answer
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
        drawn = without_period(await self._draw(app_tag, count, timeout))
        if isinstance(drawn, PeriodError):
            raise drawn
        return drawn

    async def next_number(self, app_tag: str, *, timeout: float | None = None) -> PeriodId:  # noqa: ASYNC109
        """Return a number with its period; see `IdClient.next_number`."""
        return (await self.next_numbers(app_tag, 1, timeout=timeout))[0]

    async def next_numbers(
        self,
        app_tag: str,
        count: int,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # it travels with the request
    ) -> list[PeriodId]:
        """Return `count` numbers of one period; see `IdClient.next_numbers`."""
        check_draw(app_tag, count)
        drawn: IdBatch = await self._draw(app_tag, count, timeout)
        return drawn.numbers()

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
        limits, patience = LeaseLimits(floor, cap, cover), self._time(timeout)
        lease_timeout, retry = self._lease_terms(patience)

        def lease(count: int) -> "Future[IdBatch]":
            return self._usable().lease(app_tag, count, lease_timeout)

        return AsyncIdSequence(lease, limits, patience, self._sequences, self._overdue, retry=retry)

    async def health(
        self,
        app_tag: str | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # it travels with the request
    ) -> "HealthReply":
        """Return what one worker holds; see `IdClient.health`."""
        spec = health_request(app_tag)
        return spec.read(await self._usable().call(spec, self._time(timeout)))

    async def fleet_health(
        self, app_tag: str | None = None, *, within: float = 1.0
    ) -> "list[HealthReply]":
        """Return what every worker holds; see `IdClient.fleet_health`."""
        spec = health_request(app_tag, fleet=True)
        replies = await self._usable().gather(spec, checked_timeout(within))
        return [spec.read(raw) for raw in replies]

    def stats(self) -> ClientStats:
        """Return what this client has done so far, and what waits now. It costs no message."""
        session, counters = self._session, self._counters
        if session is not None and not session.alive[0]:
            session, counters = None, ClientCounters()  # those are the parent's
        return snapshot(
            counters,
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
            if session.alive[0]:
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
        if session is not None and not session.alive[0]:
            self._leave_to_parent(session)
            session = None
        loop = asyncio.get_running_loop()
        if session is None:
            session = self._new_session(loop)
            session.start()
            self._session = session
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
        self._session, self._counters = None, ClientCounters()
