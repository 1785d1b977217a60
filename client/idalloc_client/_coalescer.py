"""Turns many calls for ids into few requests: while some are in flight, later calls gather.

It belongs to the thread of its link.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import frexp
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._calls import CallTable
from idalloc_client._errors import (
    ExhaustedError,
    IdAllocError,
    InvalidRequestError,
    NoAvailableIdError,
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

_SUCCESSES_TO_WIDEN = 50
_IDLE_LANES = 1000
_KNOWN_TAGS = 10_000

_Key = tuple[str, int]
"""A tag, and the magnitude of the time that a call has: the exponent of two of its seconds."""


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
    """The calls of one tag whose callers have about the same time."""

    __slots__ = ("app_tag", "flush_pending", "in_flight", "key", "paused", "waiting", "wanted")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.app_tag = key[0]
        self.waiting: deque[Waiter] = deque()
        self.wanted = 0  # ids, by all who wait
        self.in_flight = 0
        self.flush_pending = False
        self.paused = False

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self.waiting or self.in_flight or self.flush_pending or self.paused)

    def stand_behind(self, waiter: Waiter) -> None:
        """Take a caller in."""
        self.waiting.append(waiter)
        self.wanted += waiter.size

    def stand_in_front(self, waiters: list[Waiter]) -> None:
        """Take callers in again, before all others."""
        self.waiting.extendleft(reversed(waiters))
        self.wanted += sum(waiter.size for waiter in waiters)

    def leave(self) -> Waiter:
        """Let the first one go."""
        waiter = self.waiting.popleft()
        self.wanted -= waiter.size
        return waiter


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
        "rest",
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
        rest: list[Waiter],
        request: Exchange[IdBatch],
    ) -> None:
        self._coalescer = coalescer
        self._finished = False
        self.correlation_id = ""
        self.holds_slot = False  # of its lane's few, which full requests do not need
        self.lane = lane
        self.waiters = waiters
        self.rest = rest
        """Callers whose turn depends on what becomes of this one."""
        self.request: Exchange[Any] = request
        self.deadline = max(waiter.deadline for waiter in waiters)

    @property
    def everybody(self) -> list[Waiter]:
        """All callers that are not in a lane."""
        return self.waiters + self.rest

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
        self._successes = 0
        self._lanes: dict[_Key, _Lane] = {}
        self._known_tags: set[str] = set()
        self._in_flight: set[GatheredCall] = set()
        self.calls = 0
        """Callers that wait."""
        self.ids_unused = 0
        """Ids that came when nobody wanted them any more."""

    def __contains__(self, app_tag: object) -> bool:
        """Whether a tag was asked for lately, and so is a valid one."""
        return app_tag in self._known_tags

    def add(self, app_tag: str, waiter: Waiter) -> None:
        """Take a call; `app_tag` is valid."""
        if self.calls >= self._max_calls:
            error = TooManyCallsError(f"{self._max_calls} calls are in flight already")
            settle(waiter.promise, error)
            return
        # Callers with a second and callers with a minute do not share a request: it has one
        # expiration, and one answer to "in time".
        key = app_tag, frexp(waiter.deadline - self._clock())[1]
        lane = self._lanes.get(key) or self._new_lane(key)
        lane.stand_behind(waiter)
        self.calls += 1
        if not lane.flush_pending and self._may_leave(lane):
            # Not at once: what else is called in this turn of the loop travels along.
            lane.flush_pending = True
            self._call_soon(lambda: self._flush(lane))

    def waiters(self) -> Iterator[Waiter]:
        """Walk through all callers, whether their request has left or not."""
        for lane in self._lanes.values():
            yield from lane.waiting
        for call in self._in_flight:
            yield from call.everybody

    def close(self, error: IdAllocError) -> None:
        """End the calls whose request has not left; the call table ends the others."""
        for lane in self._lanes.values():
            waiting = [lane.leave() for _ in range(len(lane.waiting))]
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
        self.calls -= len(call.everybody)
        self._conclude(call, outcome)
        self._flush(lane)
        if len(self._lanes) > _IDLE_LANES and lane.idle and self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    def _conclude(self, call: GatheredCall, outcome: RawReply | IdAllocError) -> None:
        try:
            if isinstance(outcome, IdAllocError):
                raise outcome
            ids = call.request.read(outcome)
        except ShuttingDownError as error:
            # The worker is leaving: another one is asked, after the pause that this one suggests.
            pause = error.retry_after or 0.0
            in_time = self._clock() + pause
            _fail((w for w in call.everybody if w.deadline <= in_time), error)
            self._try_again(call.lane, [w for w in call.everybody if w.deadline > in_time], pause)
        except InvalidRequestError as error:
            # Each of them is valid, so it is their sum that the worker does not allow.
            if len(call.waiters) > 1:
                self._max_gathered = max(sum(w.size for w in call.waiters) // 2, 1)
                self._successes = 0
                self._try_again(call.lane, call.everybody, 0.0)
            else:
                _fail(call.waiters, error)
                self._try_again(call.lane, call.rest, 0.0)
        except (ExhaustedError, NoAvailableIdError) as error:
            self._ask_for_fewer(call, error)
        except IdAllocError as error:
            _fail(call.everybody, error)
        else:
            self._share(call.waiters, ids)
            self._widen()
            self._stand_in_front(call.lane, call.rest)

    def _widen(self) -> None:
        """Let groups grow again, now and then: the worker that allowed less may be gone."""
        if self._max_gathered < MAX_GATHERED:
            self._successes += 1
            if self._successes >= _SUCCESSES_TO_WIDEN:
                self._successes = 0
                self._max_gathered = min(self._max_gathered * 2, MAX_GATHERED)

    def _new_lane(self, key: _Key) -> _Lane:
        if len(self._known_tags) >= _KNOWN_TAGS:
            self._known_tags.clear()
        self._known_tags.add(key[0])
        lane = self._lanes[key] = _Lane(key)
        return lane

    def _may_leave(self, lane: _Lane) -> bool:
        """Whether it is of no use to wait for company: few are on their way, or enough wait."""
        return lane.in_flight < REQUESTS_IN_FLIGHT or lane.wanted >= self._max_gathered

    def _flush(self, lane: _Lane) -> None:
        lane.flush_pending = False
        while lane.waiting and not lane.paused and self._may_leave(lane):
            waiters = self._gather(lane)
            if waiters:
                self._send_for(lane, waiters, [])

    def _gather(self, lane: _Lane) -> list[Waiter]:
        gathered: list[Waiter] = []
        total = 0
        while lane.waiting:
            size = lane.waiting[0].size
            if gathered and total + size > self._max_gathered:
                break
            waiter = lane.leave()
            if waiter.promise.done():
                self.calls -= 1
            else:
                gathered.append(waiter)
                total += size
        return gathered

    def _send_for(self, lane: _Lane, waiters: list[Waiter], rest: list[Waiter]) -> None:
        total = sum(waiter.size for waiter in waiters)
        call = GatheredCall(self, lane, waiters, rest, alloc_exchange(lane.app_tag, total))
        call.holds_slot = total < self._max_gathered
        lane.in_flight += call.holds_slot
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

    def _share(self, waiters: list[Waiter], ids: IdBatch) -> None:
        taken = 0
        for waiter in waiters:
            if _give(waiter, ids, taken):
                taken += waiter.size
        # Not for those who came later: another client may have got higher ids before they called.
        self.ids_unused += len(ids) - taken

    def _ask_for_fewer(self, call: GatheredCall, error: IdAllocError) -> None:
        """Serve as many as there are ids for: the worker gives all that a request asks for or none.

        Half of the callers at a time, so that it takes few requests to find out.
        """
        alive = [waiter for waiter in call.everybody if not waiter.promise.done()]
        middle = len(call.waiters) // 2
        if middle == 0:
            _fail(alive, error)
        elif alive:
            self.calls += len(alive)
            self._send_for(call.lane, alive[:middle], alive[middle:])

    def _stand_in_front(self, lane: _Lane, waiters: list[Waiter]) -> None:
        self.calls += len(waiters)
        lane.stand_in_front(waiters)

    def _try_again(self, lane: _Lane, waiters: list[Waiter], pause: float) -> None:
        """Let callers stand in front again, and send for them after a pause in seconds."""
        self._stand_in_front(lane, waiters)
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
