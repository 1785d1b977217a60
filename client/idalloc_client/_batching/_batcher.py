"""Turns many calls for ids into few requests, on its link's thread: later calls gather."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import frexp

from idalloc_client._batch import IdBatch
from idalloc_client._batching._batch_request import GatheredCall
from idalloc_client._batching._promise import Promise, settle
from idalloc_client._batching._request_size import TOO_LARGE
from idalloc_client._batching._tag_queue import Book, Group, Lane, Resting, Waiter, size_of
from idalloc_client._errors import (
    ExhaustedError,
    IdAllocError,
    NoAvailableIdError,
    QueueFullError,
    ShuttingDownError,
    TooManyCallsError,
    fresh,
    unexpected,
)
from idalloc_client._rpc import CallTable, RawReply, alloc_exchange
from idalloc_client._stats import Carrier, Tallies

_log = logging.getLogger("idalloc.client")

REQUESTS_IN_FLIGHT = 2
"""Requests of one tag on their way before later calls gather: while one is answered, the callers of
the one before are served and ask again. Measured by `benchmarks/races/in_flight.py`."""

CROWD = 64
"""Callers who are served in one turn of the loop, before further replies wait for the next one.

Where each asks for another tag, their next requests so leave in one write. With 1 instead, 100
such tasks got 0.6 of the ids, and cost the broker 1.7 times the CPU time."""

SLOW = 0.2
"""Seconds after which a request no longer keeps later calls from leaving: it may be with a worker
that is frozen or gone, or lost, or not have been taken by a full queue."""

_TICK = 0.05  # seconds between two looks at what is in flight
_IDLE_LANES = 1000

Lanes = dict[str, Lane]


class Coalescer:
    """Gathers calls by tag, first come first served."""

    def __init__(  # noqa: PLR0913  # each is another part of its surroundings
        self,
        *,
        calls: CallTable,
        call_soon: Callable[[Callable[[], None]], None],
        call_later: Callable[[float, Callable[[], None]], object],
        max_calls: int,
        before_flush: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`before_flush` is called when a request may leave, to let callers join it."""
        self._calls = calls
        self._call_soon = call_soon
        self._call_later = call_later
        self._before_flush = before_flush
        self._clock = clock
        self._book = Book(max_calls)
        self._lanes: dict[int, Lanes] = {}
        self._lane_count = 0
        self._lanes_at_next_look = _IDLE_LANES
        self._in_flight: set[GatheredCall] = set()
        self._resting = Resting()
        self._outcomes: deque[tuple[GatheredCall, RawReply]] = deque()
        self._served = 0
        """Callers who were served in this turn of the loop."""
        self._watching = False
        self.tallies: Tallies = calls.tallies

    @property
    def calls(self) -> int:
        """Callers that wait."""
        return self._book.calls

    @property
    def requests_in_flight(self) -> int:
        """Requests that were not answered yet."""
        return len(self._in_flight)

    # Callers

    def lanes(self, timeout: float) -> Lanes:
        """Return the lanes of callers who have about so many seconds, by tag.

        A request has one expiration: callers with a second and callers with a minute do not share
        it. A tag that is in here is a valid one.
        """
        return self._lanes.setdefault(frexp(timeout)[1], {})

    def lane(self, app_tag: str, timeout: float) -> Lane:
        """Return a lane to join; `app_tag` is valid."""
        lanes = self.lanes(timeout)
        lane = lanes.get(app_tag)
        if lane is None:
            if self._lane_count >= self._lanes_at_next_look:
                self._drop_idle_lanes()
            lane = lanes[app_tag] = Lane(app_tag, self._book, self._on_wanted)
            self._lane_count += 1
        return lane

    def add(
        self, app_tag: str, waiter: Waiter, timeout: float, carrier: Carrier | None = None
    ) -> None:
        """Take a call; `app_tag` is valid, and `carrier` has the caller's trace context."""
        promise, count, deadline = waiter
        lane = self.lane(app_tag, timeout)
        if not lane.waiting:
            lane.carrier = carrier
        if count is None:
            joined = lane.join(promise, deadline)
            lane.plain = False  # it may leave without a word
        else:
            joined = lane.join_for(promise, count, deadline)
        if not joined:
            self.refuse(promise)

    def refuse(self, promise: Promise) -> None:
        """Tell a caller that could not join."""
        error = TooManyCallsError(f"{self._book.max_calls} calls are in flight already")
        self._fail([(promise, None, 0.0)], error)

    def waiters(self) -> Iterator[Waiter]:
        """Walk through all callers, whether their request has left or not."""
        for lanes in self._lanes.values():
            for lane in lanes.values():
                yield from lane.waiting
        for call in self._in_flight:
            yield from call.everybody
        yield from self._resting.waiters()

    def some_have_left(self) -> None:
        """Note that callers that wait have got an outcome otherwise."""
        for lanes in self._lanes.values():
            for lane in lanes.values():
                lane.plain = False

    def close(self, error: IdAllocError) -> None:
        """End the calls whose request has not left; the call table ends the others."""
        for lanes in self._lanes.values():
            for lane in lanes.values():
                group = self._gather(lane, lane.wanted)
                self._book.calls -= len(group.waiters)
                self._fail(group.waiters, error)
        resting = self._resting.take_all()
        self._book.calls -= len(resting)
        self._fail(resting, error)

    def _drop_idle_lanes(self) -> None:
        """Forget tags that are not in use: a client may meet any number of them."""
        # Also of those in flight that hold no place: their callers may have to stand in line again.
        in_use = {call.lane for call in self._in_flight} | self._resting.lanes()
        for lanes in self._lanes.values():
            for lane in [lane for lane in lanes.values() if lane.idle and lane not in in_use]:
                del lanes[lane.app_tag]
        self._lane_count = sum(map(len, self._lanes.values()))
        self._lanes_at_next_look = self._lane_count + _IDLE_LANES

    # Requests

    def _on_wanted(self, lane: Lane) -> None:
        # Not at once: what else is called in this turn of the loop travels along.
        if not lane.flush_pending:
            lane.flush_pending = True
            try:
                self._call_soon(lambda: self._flush(lane))
            except BaseException:  # Ctrl-C just here: nobody else would send for them any more
                lane.flush_pending, lane.eager = False, True
                raise

    def _flush(self, lane: Lane) -> None:
        """Send for those who wait, as far as places are free or a request would be full."""
        if lane.flushing:
            return  # from within: a request that ended at once. The loop further out goes on.
        lane.flush_pending = lane.flushing = True  # who joins just now is seen below
        lane.full = False
        try:
            if self._before_flush is not None:
                self._before_flush()
            while lane.waiting and self._send_next(lane):
                pass
        finally:
            lane.flush_pending = lane.flushing = False
            lane.full = lane.in_flight >= REQUESTS_IN_FLIGHT
            lane.eager = not lane.full

    def _send_next(self, lane: Lane) -> bool:
        """Let the first ones of a lane go; False if they have to wait."""
        wanted, places = lane.wanted, REQUESTS_IN_FLIGHT - lane.in_flight
        if places <= 0 and wanted < lane.request_size.limit:
            return False
        group = self._gather(lane, lane.request_size.piece(wanted, places))
        if group.waiters:
            self._send_for(lane, group, [])
        return True

    def _gather(self, lane: Lane, limit: int) -> Group:
        before = len(lane.waiting)
        group = lane.take(limit)
        gone = before - len(lane.waiting) - len(group.waiters)
        self._book.calls -= gone
        self.tallies.left += gone
        return group

    def _send_for(self, lane: Lane, group: Group, rest: list[Waiter]) -> None:
        """Send a request; whatever fails here ends it, and frees its place."""
        try:
            exchange = alloc_exchange(lane.app_tag, group.size)
            call = GatheredCall(self._on_finished, lane, group, rest, exchange, self._clock())
        except Exception as error:  # noqa: BLE001  # told to those who wait
            self._book.calls -= len(group.waiters) + len(rest)
            self._fail([*group.waiters, *rest], unexpected(error))
            return
        self._note(call)
        try:
            call.correlation_id = self._calls.add(call)
        except Exception as error:  # noqa: BLE001  # told to those who wait
            call.finish(unexpected(error))

    def _note(self, call: GatheredCall) -> None:
        lane, group = call.lane, call.group
        call.carrier, lane.carrier = lane.carrier, None
        call.holds_place = group.size < lane.request_size.limit
        lane.in_flight += call.holds_place
        self._in_flight.add(call)
        self.tallies.requests += 1
        self.tallies.gathered += len(group.waiters)
        self._watch()

    def _watch(self) -> None:
        """Look after a while at what is in flight: one timer for all of it."""
        if not self._watching and self._in_flight:
            self._watching = True
            self._call_later(_TICK, self._look)

    def _look(self) -> None:
        self._watching = False
        now = self._clock()
        try:
            for call in list(self._in_flight):
                if call.deadline <= now:
                    call.finish(self._calls.overdue(call.request.queue))
                elif now - call.sent_at >= SLOW:
                    self._calls.doubt(call.correlation_id)
                    self._free_place(call)
                    self._flush(call.lane)
        finally:
            self._watch()

    def _free_place(self, call: GatheredCall) -> None:
        if call.holds_place:
            call.holds_place = False
            call.lane.in_flight -= 1

    # Replies

    def _on_finished(self, call: GatheredCall, outcome: RawReply | IdAllocError) -> None:
        """Share outcomes out, those for a crowd one in a turn of the loop.

        Of replies that come together the second one waits until the callers of the first one had
        their turn, and their next request is on its way. All at once, the whole crowd would be
        served, ask and wait in step: the client would have nothing to do while the worker works.
        Replies for few are shared out together: what these ask for then leaves together.
        """
        if isinstance(outcome, IdAllocError):
            self._finish(call, outcome)
        elif self._served < CROWD:
            self._share_out(call, outcome)
        else:
            self._outcomes.append((call, outcome))

    def _share_out(self, call: GatheredCall, outcome: RawReply) -> None:
        if not self._served:
            self._call_soon(self._after_turn)
        self._served += len(call.group.waiters) or 1
        self._finish(call, outcome)

    def _after_turn(self) -> None:
        self._served = 0
        while self._outcomes and self._served < CROWD:
            self._share_out(*self._outcomes.popleft())

    def _finish(self, call: GatheredCall, outcome: RawReply | IdAllocError) -> None:
        """Free the place of a request, whatever becomes of its callers, and send the next."""
        self._in_flight.discard(call)
        self._free_place(call)
        self._book.calls -= len(call.group.waiters) + len(call.rest)
        try:
            self._calls.forget(call.correlation_id)
            if isinstance(outcome, RawReply):
                self.tallies.round_trip.observe(self._clock() - call.sent_at)
            self._conclude(call, outcome)
        except Exception as error:  # noqa: BLE001  # told to those who wait
            _log.exception("An answer could not be shared out")
            self._end_left_over(call, unexpected(error))
        finally:
            self._flush(call.lane)

    def _end_left_over(self, call: GatheredCall, error: IdAllocError) -> None:
        """End the callers of a request that nobody else will end."""
        elsewhere = {id(promise) for promise, _, _ in self.waiters()}
        self._fail((w for w in call.everybody if id(w[0]) not in elsewhere), error)

    def _conclude(self, call: GatheredCall, outcome: RawReply | IdAllocError) -> None:
        try:
            if isinstance(outcome, IdAllocError):
                raise outcome
            ids = call.request.read(outcome)
        except (ShuttingDownError, QueueFullError) as error:
            # The worker is leaving, and another one is asked; or the queue is full for the moment.
            pause = error.retry_after or 0.0
            in_time = self._clock() + pause
            self._fail((w for w in call.everybody if w[2] <= in_time), error)
            self._try_again(call.lane, [w for w in call.everybody if w[2] > in_time], pause)
        except TOO_LARGE as error:
            # Each of them is valid, so it is their sum that the worker does not allow.
            limit = call.lane.request_size
            if len(call.group.waiters) > 1 and limit.narrow(call.group.size, error):
                self._try_again(call.lane, call.everybody, 0.0)
            else:
                self._fail(call.group.waiters, error)
                self._try_again(call.lane, call.rest, 0.0)
        except (ExhaustedError, NoAvailableIdError) as error:
            self._ask_for_fewer(call, error)
        except IdAllocError as error:
            self._fail(call.everybody, error)
        else:
            call.lane.request_size.widen()
            self._share(call.group, ids)
            if call.rest:
                self._stand_in_front(call.lane, call.rest)

    def _share(self, group: Group, ids: IdBatch) -> None:
        gone, unused = group.hand_out(ids)
        tallies = self.tallies
        tallies.ids += group.size
        tallies.ids_unused += unused
        tallies.left += gone
        tallies.served += len(group.waiters) - gone

    def _ask_for_fewer(self, call: GatheredCall, error: IdAllocError) -> None:
        """Serve as many as there are ids for: the worker gives all that a request asks for or none.

        Half of the callers at a time, so that it takes few requests to find out.
        """
        everybody = call.everybody
        alive = [waiter for waiter in everybody if not waiter[0].done()]
        self.tallies.left += len(everybody) - len(alive)
        middle = len(call.group.waiters) // 2
        if middle == 0:  # who wants as many or more cannot be served either
            limit = size_of(call.group.waiters[0])
            self._fail((waiter for waiter in alive if size_of(waiter) >= limit), error)
            alive = [waiter for waiter in alive if size_of(waiter) < limit]
            middle = len(alive)
        if alive:
            self._book.calls += len(alive)
            self.tallies.retried += len(alive)
            self._send_for(call.lane, Group(alive[:middle], plain=False), alive[middle:])

    def _stand_in_front(self, lane: Lane, waiters: list[Waiter]) -> None:
        self._book.calls += len(waiters)
        lane.stand_in_front(waiters)

    def _try_again(self, lane: Lane, waiters: list[Waiter], pause: float) -> None:
        """Let callers stand in front again, after a pause in seconds that holds up nobody else."""
        self.tallies.retried += len(waiters)
        if not pause:
            self._stand_in_front(lane, waiters)
            return
        self._book.calls += len(waiters)
        key = self._resting.add(lane, waiters)
        self._call_later(pause, partial(self._go_on, lane, key))

    def _go_on(self, lane: Lane, key: object) -> None:
        lane.stand_in_front(self._resting.take(key))
        self._flush(lane)

    def _fail(self, waiters: Iterable[Waiter], error: IdAllocError) -> None:
        kind = type(error).__name__
        for promise, _, _ in waiters:
            if settle(promise, fresh(error)):
                self.tallies.failed[kind] += 1
            else:
                self.tallies.left += 1
