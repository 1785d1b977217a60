"""Clients for the tests of services that use idalloc: no broker, no thread, no waiting.

They replace what lies below the real clients, the connection. What lies above it, argument checks,
deadlines, errors, sequences, closing, is the real clients' own code.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from idalloc_client._batch import IdBatch
from idalloc_client._batching import settle
from idalloc_client._clients import AsyncIdClient, AsyncSession, IdClient, RpcClient
from idalloc_client._errors import ClientClosedError, IdAllocError
from idalloc_client._fake_worker import WORKER, FakeWorker
from idalloc_client._memory import MEMORY, Locks
from idalloc_client._rpc import Exchange, RawReply, check_draw
from idalloc_client._sequences import no_lease_in_time
from idalloc_client._stats import ClientStats, SequenceStats, Tallies, snapshot
from idalloc_schemas import (
    RespCode,
)

__all__ = ["AsyncFakeIdClient", "FakeIdClient"]

_URL: Final = "amqp://fake.invalid/"  # nobody connects to it
_Result = TypeVar("_Result")


class FakeIdClient(IdClient):
    """An `IdClient` that counts by itself. Each tag has its own counter; threads may share it.

    Args:
        tags: the tags that exist, with the first id of each. Others raise `AppTagNotFoundError`.
        any_tag: let every tag exist; those not in `tags` begin at 1.
        segment: ids in a segment; every other segment went to somebody else, so that batches span
            ranges with gaps between them. By default there are no gaps.
    """

    def __init__(
        self,
        tags: Mapping[str, int] | None = None,
        *,
        any_tag: bool = False,
        segment: int | None = None,
    ) -> None:
        super().__init__(_URL, name=WORKER)
        self._worker = FakeWorker(tags or {}, any_tag=any_tag, segment=segment)
        self._rpc = _FakeRpc(self._worker)

    def fail_next(
        self, failure: IdAllocError | RespCode, times: int = 1, app_tag: str | None = None
    ) -> None:
        """Let the next calls that reach the worker fail: draws, health, and a sequence's leases.

        Failures that were asked for earlier come first.

        Args:
            failure: the error to raise, or the code that a worker answers with.
            times: how many calls fail.
            app_tag: only calls for this tag fail.
        """
        self._worker.fail_next(failure, times, app_tag)

    def close(self) -> None:
        """Let every later call raise `ClientClosedError`. Safe to repeat."""
        super().close()
        self._rpc.close(0.0)


class AsyncFakeIdClient(AsyncIdClient):
    """An `AsyncIdClient` that counts by itself; see `FakeIdClient` for its arguments."""

    def __init__(
        self,
        tags: Mapping[str, int] | None = None,
        *,
        any_tag: bool = False,
        segment: int | None = None,
    ) -> None:
        super().__init__(_URL, name=WORKER)
        self._worker = FakeWorker(tags or {}, any_tag=any_tag, segment=segment)

    def fail_next(
        self, failure: IdAllocError | RespCode, times: int = 1, app_tag: str | None = None
    ) -> None:
        """Let the next calls fail; see `FakeIdClient.fail_next`."""
        self._worker.fail_next(failure, times, app_tag)

    def _usable(self) -> AsyncSession:
        session = self._session
        if session is not None and session.process.gone:
            self._leave_to_parent(session)
        if self._session is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._session = _FakeSession(self._worker, self._tallies, loop)
        return super()._usable()


class _FakeRpc(RpcClient):
    """Stands where the connection of an `IdClient` is."""

    def __init__(self, worker: FakeWorker) -> None:
        # The base's constructor prepares a connection, and there is none.
        self._worker = worker
        self._locks = Locks()
        self._closed = False
        self._used = False
        self._leave_to_parent()

    def draw(self, app_tag: str, count: int | None, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        self._check_usable()
        check_draw(app_tag, 1 if count is None else count)
        with _counted(self._tallies, count):
            return self._worker.draw(app_tag, count, deadline)

    def draw_later(
        self,
        app_tag: str,
        count: int,
        timeout: float,
        on_answer: Callable[[IdBatch | IdAllocError], None],
    ) -> None:
        answer: IdBatch | IdAllocError
        try:
            answer = self.draw(app_tag, count, timeout)
        except IdAllocError as error:
            answer = error
        on_answer(answer)

    def call(self, request: Exchange[Any], timeout: float) -> RawReply:
        self._check_usable()
        return self._worker.health(request, time.monotonic() + timeout)

    def gather(self, request: Exchange[Any], within: float) -> list[RawReply]:
        return [self.call(request, within)]  # there is one worker

    def overdue(self) -> IdAllocError:
        return no_lease_in_time()

    def stats(self, sequences: SequenceStats) -> ClientStats:
        self._mine()
        usable = self._used and not self._closed
        return snapshot(self._tallies, waiting=0, connected=usable, sequences=sequences)

    def close(self, timeout: float) -> None:  # noqa: ARG002  # there is nothing to wait for
        self._closed = True

    def _check_usable(self) -> None:
        self._mine()
        if self._closed:
            raise ClientClosedError("the client is closed")
        self._used = True


class _FakeSession(AsyncSession):
    """Stands where the connection of an `AsyncIdClient` is."""

    def __init__(
        self, worker: FakeWorker, tallies: Tallies, loop: asyncio.AbstractEventLoop
    ) -> None:
        # The base's constructor connects.
        self.loop = loop
        self.thread_id = threading.get_ident()
        self.process = MEMORY.process()
        self.alive = self.process.alive
        self.lanes = {}  # none, so that every call is checked
        self._worker = worker
        self._tallies = tallies
        self._waiting = 0
        self._ended = False

    def draw(self, app_tag: str, count: int | None, timeout: float) -> "asyncio.Future[Any]":
        deadline = time.monotonic() + timeout

        def answer() -> int | IdBatch:
            with _counted(self._tallies, count):
                return self._worker.draw(app_tag, count, deadline)

        return self._soon(answer)

    async def call(self, request: Exchange[Any], timeout: float) -> RawReply:  # noqa: ASYNC109
        deadline = time.monotonic() + timeout
        return await self._soon(lambda: self._worker.health(request, deadline))

    async def gather(self, request: Exchange[Any], within: float) -> list[RawReply]:
        return [await self.call(request, within)]  # there is one worker

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

    def sweep_no_later_than(self, deadline: float) -> None:
        """There is no connection that could take its time."""

    def _soon(self, answer: Callable[[], _Result]) -> "asyncio.Future[_Result]":
        # Not at once: other tasks run during a real call, and it may be cancelled.
        promise: asyncio.Future[_Result] = self.loop.create_future()
        self._waiting += 1
        self.loop.call_soon(self._answer, promise, answer)
        return promise

    def _answer(self, promise: "asyncio.Future[_Result]", answer: Callable[[], _Result]) -> None:
        self._waiting -= 1
        if promise.done():
            self._tallies.left += 1
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
def _counted(tallies: Tallies, count: int | None) -> Iterator[None]:
    """Count a call as one that travelled by itself."""
    tallies.requests += 1
    tallies.gathered += 1
    try:
        yield
    except IdAllocError as error:
        tallies.failed[type(error).__name__] += 1
        raise
    tallies.served += 1
    tallies.ids += count or 1
