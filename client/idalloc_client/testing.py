"""Clients for the tests of services that use idalloc: no broker, no thread, no waiting.

They replace what lies below the real clients, the connection. What lies above it, argument checks,
deadlines, errors, sequences, closing, is the real clients' own code.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from idalloc_client._async_client import AsyncIdClient
from idalloc_client._async_session import AsyncSession
from idalloc_client._batch import IdBatch
from idalloc_client._client import IdClient
from idalloc_client._errors import (
    CallTimeoutError,
    ClientClosedError,
    ForkedClientError,
    IdAllocError,
    RefusedError,
    fresh,
    refused,
)
from idalloc_client._exchange import Exchange, RawReply, check_draw
from idalloc_client._forks import end_in_children
from idalloc_client._promise import settle
from idalloc_client._rpc import RpcClient
from idalloc_client._stats import ClientStats, SequenceStats, snapshot
from idalloc_client._tallies import Tallies
from idalloc_schemas import (
    MAX_ID,
    ErrorReply,
    HealthReply,
    RespCode,
    TagHealth,
    TagState,
    parse_health_request,
)

__all__ = ["AsyncFakeIdClient", "FakeIdClient"]

_URL: Final = "amqp://fake.invalid/"  # nobody connects to it
_WORKER: Final = "fake"
_MAX_COUNT: Final = 1_000_000  # what a worker allows unless it is configured otherwise

_REFUSALS: Final[Mapping[RespCode, tuple[str, int | None]]] = {
    RespCode.NO_AVAILABLE_ID: ("no available id", 100),
    RespCode.INVALID_REQUEST: ("the request breaks the contract", None),
    RespCode.APP_TAG_NOT_FOUND: ("app_tag not found", None),
    RespCode.EXHAUSTED: ("the id space of this app_tag is used up", None),
    RespCode.FORBIDDEN: ("forbidden", None),
    RespCode.BUSY: ("too many requests wait for this app_tag", 100),
    RespCode.SHUTTING_DOWN: ("the worker is shutting down", 100),
    RespCode.INTERNAL: ("the row of this app_tag is invalid", None),
}
"""What a worker says with each code: its words, and milliseconds where a retry can help."""

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
        super().__init__(_URL, name=_WORKER)
        self._worker = _FakeWorker(tags or {}, any_tag=any_tag, segment=segment)
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
        super().__init__(_URL, name=_WORKER)
        self._worker = _FakeWorker(tags or {}, any_tag=any_tag, segment=segment)

    def fail_next(
        self, failure: IdAllocError | RespCode, times: int = 1, app_tag: str | None = None
    ) -> None:
        """Let the next calls fail; see `FakeIdClient.fail_next`."""
        self._worker.fail_next(failure, times, app_tag)

    def _usable(self) -> AsyncSession:
        if self._session is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._session = _FakeSession(self._worker, self._tallies, loop)
        return super()._usable()


class _FakeRpc(RpcClient):
    """Stands where the connection of an `IdClient` is."""

    def __init__(self, worker: "_FakeWorker") -> None:
        # The base's constructor prepares a connection, and there is none.
        self._worker = worker
        self._tallies = Tallies()
        self._closed = False
        self._used = False
        self._forked = False
        end_in_children(self)

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

    def stats(self, sequences: SequenceStats) -> ClientStats:
        usable = self._used and not self._closed
        return snapshot(self._tallies, waiting=0, connected=usable, sequences=sequences)

    def close(self, timeout: float) -> None:  # noqa: ARG002  # there is nothing to wait for
        self._closed = True

    def _check_usable(self) -> None:
        if self._forked:
            raise ForkedClientError
        if self._closed:
            raise ClientClosedError("the client is closed")
        self._used = True

    def after_fork(self) -> None:
        self._forked = self._used


class _FakeSession(AsyncSession):
    """Stands where the connection of an `AsyncIdClient` is."""

    def __init__(
        self, worker: "_FakeWorker", tallies: Tallies, loop: asyncio.AbstractEventLoop
    ) -> None:
        # The base's constructor connects.
        self.loop = loop
        self.thread_id = threading.get_ident()
        self.forked = False
        self.lanes = {}  # none, so that every call is checked
        self._worker = worker
        self._tallies = tallies
        self._waiting = 0
        self._ended = False
        end_in_children(self)

    def draw(self, app_tag: str, count: int | None, timeout: float) -> "asyncio.Future[Any]":
        deadline = time.monotonic() + timeout

        def answer() -> int | IdBatch:
            with _counted(self._tallies, count):
                return self._worker.draw(app_tag, count, deadline)

        return self._soon(answer)

    async def call(self, request: Exchange[Any], timeout: float) -> RawReply:  # noqa: ASYNC109
        deadline = time.monotonic() + timeout
        return await self._soon(lambda: self._worker.health(request, deadline))

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

    def after_fork(self) -> None:
        self.forked = True
        self.thread_id = 0

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


@dataclass(slots=True, eq=False)
class _Failure:
    error: IdAllocError | RespCode
    times: int
    app_tag: str | None


class _FakeWorker:
    """Answers as a worker does. Its lock guards everything in it."""

    def __init__(self, tags: Mapping[str, int], *, any_tag: bool, segment: int | None) -> None:
        for app_tag, first in tags.items():
            check_draw(app_tag)
            if not 1 <= first < MAX_ID:
                raise ValueError(f"the first id of {app_tag!r} must be from 1 to {MAX_ID - 1}")
        if segment is not None and segment < 1:
            raise ValueError("segment must be at least 1")
        self._lock = threading.Lock()
        self._first_ids = dict(tags)
        self._any_tag = any_tag
        self._segment = segment
        self._counters: dict[str, _Counter] = {}  # of the tags that were drawn from
        self._not_found: set[str] = set()
        self._failures: list[_Failure] = []

    def fail_next(self, failure: IdAllocError | RespCode, times: int, app_tag: str | None) -> None:
        if not isinstance(failure, IdAllocError | RespCode) or failure is RespCode.SUCCESS:
            raise TypeError("failure must be an IdAllocError or the RespCode of an error")
        if times < 1:
            raise ValueError("times must be at least 1")
        with self._lock:
            self._failures.append(_Failure(failure, times, app_tag))

    def draw(self, app_tag: str, count: int | None, deadline: float) -> int | IdBatch:
        """Give an id where `count` is None, else so many in a batch."""
        with self._lock:
            self._fail_if_due(app_tag, deadline)
            if count is not None and count > _MAX_COUNT:
                msg = f"count: must be at most {_MAX_COUNT} on this worker"
                raise refused(ErrorReply(resp_code=RespCode.INVALID_REQUEST, msg=msg), app_tag)
            ids = IdBatch(self._counter(app_tag).take(count or 1), _WORKER)
        return ids[0] if count is None else ids

    def health(self, request: Exchange[Any], deadline: float) -> RawReply:
        """Answer a request of `id.health`."""
        app_tag = parse_health_request(request.body).app_tag
        with self._lock:
            self._fail_if_due(app_tag, deadline)
            if app_tag in self._not_found:
                raise _refusal(RespCode.APP_TAG_NOT_FOUND, app_tag)
            named = sorted(self._counters) if app_tag is None else [app_tag]
            tags = [self._describe(name) for name in named]
        left = sum(tag.left for tag in tags)
        reply = HealthReply(left=left, worker=_WORKER, tags=tags, tags_total=len(tags))
        return RawReply(reply.encode(), _WORKER)

    def _fail_if_due(self, app_tag: str | None, deadline: float) -> None:
        for due in self._failures:
            if due.app_tag in (None, app_tag):
                due.times -= 1
                if not due.times:
                    self._failures.remove(due)
                if isinstance(due.error, IdAllocError):
                    raise fresh(due.error)
                raise _refusal(due.error, app_tag)
        if deadline <= time.monotonic():
            raise CallTimeoutError("the deadline passed before the fake worker could answer")

    def _counter(self, app_tag: str) -> "_Counter":
        counter = self._counters.get(app_tag)
        if counter is None:
            first = self._first_ids.get(app_tag, 1 if self._any_tag else None)
            if first is None:
                self._not_found.add(app_tag)
                raise _refusal(RespCode.APP_TAG_NOT_FOUND, app_tag)
            counter = self._counters[app_tag] = _Counter(app_tag, first, self._segment)
        return counter

    def _describe(self, app_tag: str) -> TagHealth:
        counter = self._counters.get(app_tag)
        if counter is None:
            return TagHealth(app_tag=app_tag, state=TagState.COLD)
        return counter.describe()


class _Counter:
    """The ids of one tag."""

    def __init__(self, app_tag: str, first: int, segment: int | None) -> None:
        self._app_tag = app_tag
        self._step = MAX_ID - first if segment is None else segment
        self._held = self._segment_at(first)
        self._handed_out = 0

    def take(self, count: int) -> list[tuple[int, int]]:
        """Give the next ids, all or none."""
        held, taken, missing = self._held, [], count
        while missing:
            if not held:
                raise _refusal(RespCode.EXHAUSTED, self._app_tag)
            piece = held[:missing]
            taken.append((piece.start, piece.stop))
            missing -= len(piece)
            held = held[len(piece) :] or self._segment_at(held.stop + self._step)
        self._held = held
        self._handed_out += count
        return taken

    def describe(self) -> TagHealth:
        """Report as a worker does."""
        return TagHealth(
            app_tag=self._app_tag,
            state=TagState.READY if self._held else TagState.REFUSED,
            left=len(self._held),
            segments=[(self._held.start, self._held.stop)] if self._held else [],
            step=self._step,
            ids_reserved=self._handed_out + len(self._held),
            ids_handed_out=self._handed_out,
        )

    def _segment_at(self, left: int) -> range:
        return range(left, min(left + self._step, MAX_ID))


def _refusal(code: RespCode, app_tag: str | None) -> RefusedError:
    msg, retry_after_ms = _REFUSALS[code]
    return refused(ErrorReply(resp_code=code, msg=msg, retry_after_ms=retry_after_ms), app_tag)
