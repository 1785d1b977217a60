"""Clients for the tests of services that use idalloc: no broker, no thread, no waiting.

They replace what lies below the real clients, the connection. What lies above it, argument checks,
deadlines, errors, sequences, closing, is the real clients' own code.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from idalloc_client._batch import IdBatch
from idalloc_client._batching import settle
from idalloc_client._clients import AsyncIdClient, AsyncSession, IdClient, Session
from idalloc_client._errors import ClientClosedError, IdAllocError
from idalloc_client._fake_worker import WORKER, FakeWorker, TimeLimits, patiently
from idalloc_client._memory import MEMORY, PerProcess
from idalloc_client._options import ConfiguredClient
from idalloc_client._rpc import RawReply, RequestSpec, check_draw
from idalloc_client._sequences import no_lease_in_time
from idalloc_client._stats import ClientCounters, ClientStats, SequenceStats, snapshot
from idalloc_schemas import RespCode

__all__ = ["AsyncFakeIdClient", "FakeIdClient"]

_URL: Final = "amqp://fake.localhost/"  # nobody connects to it, and it is no other machine
_Result = TypeVar("_Result")


class _FakeClient(ConfiguredClient):
    """What both fakes are made with, in front of the real client that each is."""

    def __init__(  # noqa: PLR0913  # what a test may set
        self,
        tags: Mapping[str, int] | None = None,
        *,
        any_tag: bool = False,
        segment: int | None = None,
        periods: Mapping[str, str] | None = None,
        retry: bool = True,
        beside: "_FakeClient | None" = None,
    ) -> None:
        """Make the counters.

        Args:
            tags: the tags that exist, with the first id of each. Others raise
                `AppTagNotFoundError`.
            any_tag: let every tag exist; those not in `tags` begin at 1.
            segment: ids in a segment; every other segment went to somebody else, so that batches
                span ranges with gaps between them. By default there are no gaps.
            periods: the tags that start anew in each period, with the one in which each is now:
                `{"invoice": "2026-11"}`. `begin_period` goes on to another.
            retry: as of the real client. Pauses take no time: each call has a clock of its own,
                which goes forward by `retry_after`.
            beside: another fake, whose counters and failures this one has too, as two clients of
                the same workers do; the options of tags are then that one's.

        Raises:
            InvalidRequestError: for a bad tag.
            ValueError: for a first id, a segment or a period that cannot be.
        """
        own = FakeWorker(tags or {}, any_tag=any_tag, segment=segment, periods=periods or {})
        self._worker: FakeWorker = own if beside is None else beside._worker  # noqa: SLF001  # of this class
        super().__init__(_URL, name=WORKER, retry=retry)

    def _lease_terms(self, timeout: float) -> tuple[float, bool]:
        return timeout, False  # the fake worker is asked again by the lease itself, in no time

    def fail_next(
        self, failure: IdAllocError | RespCode, times: int = 1, app_tag: str | None = None
    ) -> None:
        """Let the next calls that reach the worker fail: draws, health, and a sequence's leases.

        Failures that were asked for earlier come first. One that can pass is asked about again by
        a client with `retry`, so that its caller sees it only if it comes until the deadline.

        Args:
            failure: the error to raise, or the code that a worker answers with.
            times: how many calls fail.
            app_tag: only calls for this tag fail.

        Raises:
            TypeError: for something else than an error or its code.
            ValueError: for less than one time.
        """
        self._worker.fail_next(failure, times, app_tag)

    def begin_period(self, app_tag: str, period: str | None = None) -> None:
        """Let it be another period: the next one, or the one that is named, as `2026-12`.

        Raises:
            ValueError: for a tag that has no periods, or a period of another length.
        """
        self._worker.begin_period(app_tag, period)

    @property
    def unknown_tags(self) -> frozenset[str]:
        """The tags that ids were asked of, and that do not exist."""
        return frozenset(self._worker.not_found)


class FakeIdClient(_FakeClient, IdClient):
    """An `IdClient` that counts by itself. Each tag has its own counter; threads may share it."""

    def _new_session(self) -> Session:
        return _FakeSession(_Caller(self._worker, retry=self._options.retry))


class AsyncFakeIdClient(_FakeClient, AsyncIdClient):
    """An `AsyncIdClient` that counts by itself; it is made as a `FakeIdClient` is."""

    def _new_session(self, loop: asyncio.AbstractEventLoop) -> AsyncSession:
        caller = _Caller(self._worker, retry=self._options.retry)
        return _AsyncFakeSession(caller, self._counters, loop)


class _Caller:
    """Asks the fake worker, once or until a call's time is over."""

    def __init__(self, worker: FakeWorker, *, retry: bool) -> None:
        self._worker = worker
        self._retry = retry

    def draw(
        self, counters: ClientCounters, app_tag: str, count: int | None, limits: TimeLimits
    ) -> int | IdBatch:
        with _counted(counters, count) as on_retry:
            return self._ask(
                lambda: self._worker.draw(app_tag, count, limits.deadline), limits, on_retry
            )

    def health(self, spec: RequestSpec[Any], limits: TimeLimits) -> RawReply:
        """Ask how the worker stands; a refusal comes as the error that the real reply reads as."""
        return self._ask(lambda: self.health_once(spec, limits), limits)

    def health_once(self, spec: RequestSpec[Any], limits: TimeLimits) -> RawReply:
        return self._worker.health(spec, limits.deadline)

    def _ask(
        self,
        answer: Callable[[], _Result],
        limits: TimeLimits,
        on_retry: Callable[[], None] = lambda: None,
    ) -> _Result:
        return patiently(answer, limits.timeout, on_retry) if self._retry else answer()


class _FakeSession:
    """Stands where the connection of an `IdClient` is."""

    def __init__(self, caller: _Caller) -> None:
        self._caller = caller
        self._counters = PerProcess(ClientCounters)
        self._closed = False
        self._used = False

    def draw(self, app_tag: str, count: int | None, timeout: float) -> int | IdBatch:
        limits = TimeLimits.of(timeout)
        self._use()
        check_draw(app_tag, 1 if count is None else count)
        return self._caller.draw(self._counters.mine(), app_tag, count, limits)

    def draw_later(
        self,
        app_tag: str,
        count: int,
        timeout: float,
        on_answer: Callable[[IdBatch | IdAllocError], None],
    ) -> None:
        answer: Any
        try:
            answer = self.draw(app_tag, count, timeout)
        except IdAllocError as error:
            answer = error
        on_answer(answer)

    def call(self, spec: RequestSpec[Any], timeout: float) -> RawReply:
        self._use()
        return self._caller.health(spec, TimeLimits.of(timeout))

    def gather(self, spec: RequestSpec[Any], within: float) -> list[RawReply]:
        self._use()
        return [self._caller.health_once(spec, TimeLimits.of(within))]  # there is one worker

    def overdue(self) -> IdAllocError:
        return no_lease_in_time()

    def stats(self, sequences: SequenceStats) -> ClientStats:
        connected = self._used and not self._closed
        return snapshot(self._counters.mine(), waiting=0, connected=connected, sequences=sequences)

    def close(self, timeout: float) -> None:  # noqa: ARG002  # there is nothing to wait for
        self._closed = True

    def _use(self) -> None:
        if self._closed:
            raise ClientClosedError("the client is closed")
        self._used = True


class _AsyncFakeSession:
    """Stands where the connection of an `AsyncIdClient` is."""

    def __init__(
        self, caller: _Caller, counters: ClientCounters, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self.alive = MEMORY.process().alive
        self._caller = caller
        self._counters = counters
        self._waiting = 0
        self._ended = False

    def start(self) -> None:
        """There is no connection."""

    async def ask(self, _app_tag: str) -> None:
        """Leave every call to `draw`: it costs nobody."""

    def draw(self, app_tag: str, count: int | None, timeout: float) -> "asyncio.Future[Any]":
        limits = TimeLimits.of(timeout)
        return self._soon(lambda: self._caller.draw(self._counters, app_tag, count, limits))

    def lease(self, app_tag: str, count: int, timeout: float) -> "asyncio.Future[IdBatch]":
        return self.draw(app_tag, count, timeout)

    async def call(self, spec: RequestSpec[Any], timeout: float) -> RawReply:  # noqa: ASYNC109
        limits = TimeLimits.of(timeout)
        return await self._soon(lambda: self._caller.health(spec, limits))

    async def gather(self, spec: RequestSpec[Any], within: float) -> list[RawReply]:
        limits = TimeLimits.of(within)
        return [await self._soon(lambda: self._caller.health_once(spec, limits))]

    def overdue(self) -> IdAllocError:
        return no_lease_in_time()

    @property
    def connected(self) -> bool:
        return not self._ended

    @property
    def waiting(self) -> int:
        return self._waiting

    async def close(self) -> None:
        self._ended = True

    def abandon(self) -> None:
        self._ended = True

    def _soon(self, answer: Callable[[], _Result]) -> "asyncio.Future[_Result]":
        # Not at once: other tasks run during a real call, and it may be cancelled.
        promise: asyncio.Future[_Result] = self.loop.create_future()
        self._waiting += 1
        self.loop.call_soon(self._answer, promise, answer)
        return promise

    def _answer(self, promise: "asyncio.Future[_Result]", answer: Callable[[], _Result]) -> None:
        self._waiting -= 1
        if promise.done():
            self._counters.abandoned += 1
            return  # cancelled: that uses up no id
        outcome: _Result | IdAllocError
        try:
            if self._ended:
                raise ClientClosedError("the client was closed during the call")
            outcome = answer()
        except IdAllocError as error:
            outcome = error
        settle(promise, outcome)


@contextlib.contextmanager
def _counted(counters: ClientCounters, count: int | None) -> Iterator[Callable[[], None]]:
    """Count a call as one that travelled by itself; what it gives counts one more attempt."""

    def count_request() -> None:
        counters.requests += 1
        counters.gathered += 1

    def count_retry() -> None:
        counters.retried += 1
        count_request()

    count_request()
    try:
        yield count_retry
    except IdAllocError as error:
        counters.failed[type(error).__name__] += 1
        raise
    counters.served += 1
    counters.ids += count or 1
