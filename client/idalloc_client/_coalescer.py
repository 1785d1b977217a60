"""Turns many calls for ids into few requests: while some are in flight, later calls gather.

It belongs to the thread of its link.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._calls import CallTable
from idalloc_client._errors import (
    ExhaustedError,
    IdAllocError,
    InvalidRequestError,
    ShuttingDownError,
    TooManyCallsError,
    fresh,
)
from idalloc_client._exchange import Exchange, RawReply, alloc_exchange
from idalloc_client._link import Timer
from idalloc_client._promise import Promise, settle

REQUESTS_IN_FLIGHT = 2
"""Requests of one tag on their way before later calls gather: one is being answered while the next
travels. More share the same work among more messages; measured with 256 tasks and 64 threads."""

SLOW = 0.2
"""Seconds after which a request no longer keeps later calls from leaving: it may be with a worker
that is frozen or gone, or lost, while other workers answer."""

MAX_GATHERED = 10_000
"""Ids in a request that was gathered; a call for more goes out by itself."""

_IDLE_LANES = 1000


@dataclass(slots=True, eq=False)
class Waiter:
    """One caller: gets an int where `count` is None, else an `IdBatch`."""

    promise: Promise
    count: int | None
    deadline: float

    @property
    def size(self) -> int:
        """How many ids it wants."""
        return 1 if self.count is None else self.count


class _Lane:
    """The calls of one tag."""

    __slots__ = ("app_tag", "flush_pending", "in_flight", "lanes", "paused", "waiting")

    def __init__(self, app_tag: str, lanes: "dict[str, _Lane]") -> None:
        self.app_tag = app_tag
        self.lanes = lanes  # where it stands
        self.waiting: deque[Waiter] = deque()
        self.in_flight = 0
        self.flush_pending = False
        self.paused = False

    def leave_if_idle(self) -> None:
        """Keep the lanes of tags that are not used from piling up."""
        idle = not (self.waiting or self.in_flight or self.flush_pending or self.paused)
        if idle and len(self.lanes) > _IDLE_LANES and self.lanes.get(self.app_tag) is self:
            del self.lanes[self.app_tag]


class GatheredCall:
    """A request for the callers of one lane; a `Call` of the call table."""

    __slots__ = (
        "_coalescer",
        "_finished",
        "correlation_id",
        "deadline",
        "holds_slot",
        "lane",
        "request",
        "slow_timer",
        "timer",
        "waiters",
    )

    slow_timer: Timer
    timer: Timer

    def __init__(
        self,
        coalescer: "Coalescer",
        lane: _Lane,
        waiters: list[Waiter],
        request: Exchange[IdBatch],
    ) -> None:
        self._coalescer = coalescer
        self._finished = False
        self.correlation_id = ""
        self.holds_slot = True  # of its lane's few
        self.lane = lane
        self.waiters = waiters
        self.request: Exchange[Any] = request
        self.deadline = max(waiter.deadline for waiter in waiters)

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """Hand the outcome on to the callers."""
        if not self._finished:
            self._finished = True
            self._coalescer.finished(self, outcome)


class Coalescer:
    """Gathers calls by tag, first come first served."""

    def __init__(
        self,
        *,
        calls: CallTable,
        call_soon: Callable[[Callable[[], None]], None],
        call_later: Callable[[float, Callable[[], None]], Timer],
        max_calls: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = calls
        self._call_soon = call_soon
        self._call_later = call_later
        self._max_calls = max_calls
        self._clock = clock
        self._max_gathered = MAX_GATHERED
        self._lanes: dict[str, _Lane] = {}
        self._bulk_lanes: dict[str, _Lane] = {}
        self._in_flight: set[GatheredCall] = set()
        self.calls = 0
        """Callers that wait."""
        self.ids_unused = 0
        """Ids that came when nobody wanted them any more."""

    def __contains__(self, app_tag: object) -> bool:
        """Whether a tag was asked for lately, and so is a valid one."""
        return app_tag in self._lanes

    def add(self, app_tag: str, waiter: Waiter) -> None:
        """Take a call; `app_tag` is valid."""
        if self.calls >= self._max_calls:
            error = TooManyCallsError(f"{self._max_calls} calls are in flight already")
            settle(waiter.promise, error)
            return
        # A huge call has a lane of its own: it shall not keep small ones from leaving.
        lanes = self._lanes if waiter.size <= MAX_GATHERED else self._bulk_lanes
        lane = lanes.get(app_tag)
        if lane is None:
            lane = lanes[app_tag] = _Lane(app_tag, lanes)
        lane.waiting.append(waiter)
        self.calls += 1
        if lane.in_flight < REQUESTS_IN_FLIGHT and not lane.flush_pending:
            # Not at once: what else is called in this turn of the loop travels along.
            lane.flush_pending = True
            self._call_soon(lambda: self._flush(lane))

    def waiters(self) -> Iterator[Waiter]:
        """Walk through all callers, whether their request has left or not."""
        for lane in self._all_lanes():
            yield from lane.waiting
        for call in self._in_flight:
            yield from call.waiters

    def close(self, error: IdAllocError) -> None:
        """End the calls whose request has not left; the call table ends the others."""
        for lane in self._all_lanes():
            waiting, lane.waiting = lane.waiting, deque()
            self.calls -= len(waiting)
            _fail(waiting, error)

    def finished(self, call: GatheredCall, outcome: RawReply | IdAllocError) -> None:
        """Share an outcome out among the callers of a request."""
        self._in_flight.discard(call)
        call.timer.cancel()
        call.slow_timer.cancel()
        self._calls.forget(call.correlation_id)
        lane = call.lane
        self._free_slot(call)
        self.calls -= len(call.waiters)
        try:
            if isinstance(outcome, IdAllocError):
                raise outcome
            ids = call.request.read(outcome)
        except ShuttingDownError as error:
            # The worker is leaving: another one is asked, after the pause that this one suggests.
            pause = error.retry_after or 0.0
            in_time = self._clock() + pause
            _fail((w for w in call.waiters if w.deadline <= in_time), error)
            self._try_again(lane, [w for w in call.waiters if w.deadline > in_time], pause)
        except InvalidRequestError as error:
            # Each of them is valid, so it is their sum that the worker does not allow.
            if len(call.waiters) > 1:
                self._max_gathered = max(sum(w.size for w in call.waiters) // 2, 1)
                self._try_again(lane, call.waiters, 0.0)
            else:
                _fail(call.waiters, error)
        except ExhaustedError as error:
            # There may be ids for some of them: the last ones before the end of the id space.
            if len(call.waiters) > 1:
                self._ask_in_halves(lane, call.waiters)
            else:
                _fail(call.waiters, error)
        except IdAllocError as error:
            _fail(call.waiters, error)
        else:
            self._share(call.waiters, lane.waiting, ids)
        self._flush(lane)
        lane.leave_if_idle()

    def _all_lanes(self) -> Iterator[_Lane]:
        return chain(self._lanes.values(), self._bulk_lanes.values())

    def _flush(self, lane: _Lane) -> None:
        lane.flush_pending = False
        while lane.waiting and lane.in_flight < REQUESTS_IN_FLIGHT and not lane.paused:
            waiters = self._gather(lane.waiting)
            if waiters:
                self._send_for(lane, waiters)

    def _gather(self, waiting: deque[Waiter]) -> list[Waiter]:
        gathered: list[Waiter] = []
        total = 0
        while waiting:
            size = waiting[0].size
            if gathered and total + size > self._max_gathered:
                break
            waiter = waiting.popleft()
            if waiter.promise.done():
                self.calls -= 1
            else:
                gathered.append(waiter)
                total += size
        return gathered

    def _send_for(self, lane: _Lane, waiters: list[Waiter]) -> None:
        total = sum(waiter.size for waiter in waiters)
        call = GatheredCall(self, lane, waiters, alloc_exchange(lane.app_tag, total))
        lane.in_flight += 1
        self._in_flight.add(call)
        call.timer = self._call_later(
            call.deadline - self._clock(),
            lambda: call.finish(self._calls.overdue(call.request.queue)),
        )
        call.slow_timer = self._call_later(SLOW, lambda: self._on_slow(call))
        call.correlation_id = self._calls.add(call)

    def _free_slot(self, call: GatheredCall) -> None:
        if call.holds_slot:
            call.holds_slot = False
            call.lane.in_flight -= 1

    def _on_slow(self, call: GatheredCall) -> None:
        self._free_slot(call)
        self._flush(call.lane)

    def _share(self, waiters: list[Waiter], waiting: deque[Waiter], ids: IdBatch) -> None:
        taken = 0
        for waiter in waiters:
            if _give(waiter, ids, taken):
                taken += waiter.size
        # What callers that left meanwhile did not take serves those who came later.
        while waiting and taken + waiting[0].size <= len(ids):
            waiter = waiting.popleft()
            self.calls -= 1
            if _give(waiter, ids, taken):
                taken += waiter.size
        self.ids_unused += len(ids) - taken

    def _ask_in_halves(self, lane: _Lane, waiters: list[Waiter]) -> None:
        middle = len(waiters) // 2
        for half in (waiters[:middle], waiters[middle:]):
            self.calls += len(half)
            self._send_for(lane, half)

    def _try_again(self, lane: _Lane, waiters: list[Waiter], pause: float) -> None:
        """Let callers stand in front again, and send for them after a pause in seconds."""
        self.calls += len(waiters)
        lane.waiting.extendleft(reversed(waiters))
        lane.paused = True

        def go_on() -> None:
            lane.paused = False
            self._flush(lane)

        self._call_later(pause, go_on)


def _give(waiter: Waiter, ids: IdBatch, taken: int) -> bool:
    """Give a caller its ids, unless it left."""
    result = ids[taken] if waiter.count is None else ids[taken : taken + waiter.count]
    return settle(waiter.promise, result)


def _fail(waiters: Iterable[Waiter], error: IdAllocError) -> None:
    for waiter in waiters:
        settle(waiter.promise, fresh(error))
