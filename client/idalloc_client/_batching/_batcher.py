"""Turns many calls for ids into few requests, on its link's thread: later calls gather."""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from math import frexp, inf
from weakref import WeakKeyDictionary

from idalloc_client._batch import IdBatch, PeriodError
from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._batching._pace import CROWD, Pace
from idalloc_client._batching._promise import Promise
from idalloc_client._batching._refused_callers import RefusedCallers
from idalloc_client._batching._resting import Resting
from idalloc_client._batching._tag_queue import Batch, CallLimit, TagQueue, Waiter
from idalloc_client._errors import IdAllocError, TooManyCallsError, unexpected
from idalloc_client._rpc import PendingCalls, RawReply, alloc_request
from idalloc_client._stats import ClientCounters
from idalloc_client._traces import CallTrace, Carrier
from idalloc_schemas import ALLOC_QUEUE

_log = logging.getLogger("idalloc.client")

SLOW = 0.2
"""Seconds after which a request no longer keeps later calls from leaving: it may be with a worker
that is frozen or gone, or lost, or not have been taken by a full queue."""

_LOOKED_THROUGH = 1000
"""Callers of a request among whom those in a span are looked for: it may have any number."""

_TICK = 0.05  # seconds between two looks at what is in flight
_IDLE_QUEUES = 1000

TagQueues = dict[str, TagQueue]


class Batcher:
    """Gathers calls by tag, first come first served."""

    def __init__(  # noqa: PLR0913  # each is another part of its surroundings
        self,
        *,
        pending: PendingCalls,
        call_soon: Callable[[Callable[[], None]], None],
        call_later: Callable[[float, Callable[[], None]], object],
        max_calls: int,
        retry: bool,
        before_flush: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`before_flush` is called when a request may leave, to let callers join it.

        `retry` says whether callers are asked for again where an answer says that this can help.
        """
        self._pending = pending
        self._call_soon = call_soon
        self._call_later = call_later
        self._before_flush = before_flush
        self._clock = clock
        self._call_limit = CallLimit(max_calls)
        self._retry = retry
        self._queues: dict[int | None, TagQueues] = {}
        self._queue_count = 0
        self._queues_at_next_look = _IDLE_QUEUES
        self._in_flight: set[BatchRequest] = set()
        self._outcomes: deque[tuple[BatchRequest, RawReply]] = deque()
        self._served = 0
        """Callers who were served in this turn of the loop."""
        self._pace = Pace()
        self._watching = False
        self.counters: ClientCounters = pending.counters
        self._traces: WeakKeyDictionary[Promise, CallTrace] = WeakKeyDictionary()
        """Of callers in a span; it goes with the last who waits for a promise."""
        self._resting = Resting(call_later, clock, self._come_back)
        self._refused = RefusedCallers(
            counters=pending.counters,
            call_limit=self._call_limit,
            resting=self._resting,
            send_for=self._send_for,
            clock=clock,
            jitter=jitter,
        )

    @property
    def calls(self) -> int:
        return self._call_limit.calls

    def queues(self, timeout: float, *, lease: bool = False) -> TagQueues:
        """Return the queues of callers who have about so many seconds, by tag.

        A request has one expiration: callers with a second and callers with a minute do not share
        it. Nor do leases, whose sequence is to hear the first answer. A tag that is in here is a
        valid one.
        """
        return self._queues.setdefault(None if lease else frexp(timeout)[1], {})

    def queue(self, app_tag: str, timeout: float, *, lease: bool = False) -> TagQueue:
        """Return a queue to join; `app_tag` is valid."""
        queues = self.queues(timeout, lease=lease)
        queue = queues.get(app_tag)
        if queue is None:
            if self._queue_count >= self._queues_at_next_look:
                self._drop_idle_queues()
            retry = self._retry and not lease
            queue = TagQueue(app_tag, self._call_limit, self._on_wanted, retry=retry)
            queues[app_tag] = queue
            self._queue_count += 1
        return queue

    def add(
        self,
        app_tag: str,
        waiter: Waiter,
        timeout: float,
        trace: CallTrace | None = None,
        *,
        lease: bool = False,
    ) -> None:
        """Take a call; `app_tag` is valid, and `trace` follows it if its caller is in a span.

        A `lease` hears the first answer: its sequence asks again itself, while others wait for it.
        """
        promise, count, deadline = waiter
        queue = self.queue(app_tag, timeout, lease=lease)
        if trace is not None:
            self.follow(queue, promise, trace)
        if count is None:
            joined = queue.join(promise, deadline)
            queue.single = False  # it may leave without a word
        else:
            joined = queue.join_for(promise, count, deadline)
        if not joined:
            self.refuse(promise)

    def follow(self, queue: TagQueue, promise: Promise, trace: CallTrace) -> None:
        """Have a caller's context travel who is about to join a queue.

        Of callers who are not recorded only the first one's does, and no other is remembered.
        """
        if trace.recorded or not queue.waiting:
            self._traces[promise] = trace

    def refuse(self, promise: Promise) -> None:
        error = TooManyCallsError(f"{self._call_limit.max_calls} calls are in flight already")
        self._refused.tell([(promise, None, 0.0)], error)

    def overdue(self, promise: Promise) -> IdAllocError:
        """Say why a caller has no ids at its deadline. Any thread may ask."""
        return self._refused.overdue(promise, self._pending.overdue(ALLOC_QUEUE))

    def waiters(self) -> Iterator[Waiter]:
        """Walk through all callers, whether their request has left or not."""
        for queues in self._queues.values():
            for queue in queues.values():
                yield from queue.waiting
        for request in self._in_flight:
            yield from request.everybody
        yield from self._resting.waiters()

    def some_have_gone(self) -> None:
        """Note that callers that wait have got an outcome otherwise."""
        for queues in self._queues.values():
            for queue in queues.values():
                queue.single = False

    def close(self, error: IdAllocError) -> None:
        """End the calls whose request has not left; the pending calls end the others."""
        for queues in self._queues.values():
            for queue in queues.values():
                batch = self._gather(queue, queue.wanted)
                self._call_limit.calls -= len(batch.waiters)
                self._refused.tell(batch.waiters, error)
        resting = self._resting.end()
        self._call_limit.calls -= len(resting)
        self._refused.tell(resting, error)

    def _drop_idle_queues(self) -> None:
        """Forget tags that are not in use: a client may meet any number of them."""
        # Also of those in flight that hold no place: their callers may have to stand in line again.
        in_use = {request.tag_queue for request in self._in_flight}.union(self._resting.queues())
        for queues in self._queues.values():
            for queue in [queue for queue in queues.values() if queue.idle and queue not in in_use]:
                del queues[queue.app_tag]
        self._queue_count = sum(map(len, self._queues.values()))
        self._queues_at_next_look = self._queue_count + _IDLE_QUEUES

    # Requests

    def _on_wanted(self, queue: TagQueue) -> None:
        # Not at once: what else is called in this turn of the loop travels along.
        if not queue.flush_pending:
            queue.flush_pending = True
            try:
                self._call_soon(lambda: self._flush(queue))
            except BaseException:  # Ctrl-C just here: nobody else would send for them any more
                queue.flush_pending, queue.eager = False, True
                raise

    def _flush(self, queue: TagQueue) -> None:
        """Send for those who wait, as far as places are free or a request would be full."""
        if queue.flushing:
            return  # from within: a request that ended at once. The loop further out goes on.
        queue.flush_pending = queue.flushing = True  # who joins just now is seen below
        queue.full = False
        try:
            if self._before_flush is not None:
                self._before_flush()
            while queue.waiting and self._send_next(queue):
                pass
        finally:
            queue.flush_pending = queue.flushing = False
            queue.full = queue.held_back or self._wait(queue) == inf
            queue.eager = not queue.full

    def _send_next(self, queue: TagQueue) -> bool:
        """Let the first ones of a queue go; False if they have to wait."""
        if queue.wanted < queue.request_size.limit and (wait := self._wait(queue)):
            self._hold_back(queue, wait)
            return False
        batch = self._gather(queue, min(self._pace.piece(queue), queue.request_size.limit))
        if batch.waiters:
            self._send_for(queue, batch, [])
        return True

    def _wait(self, queue: TagQueue) -> float:
        return self._pace.wait(queue, len(self._in_flight), self._clock())

    def _hold_back(self, queue: TagQueue, wait: float) -> None:
        """Let those who wait go after a gap, or with the next answer."""
        if wait < inf and not queue.held_back:
            queue.held_back = True
            self._call_later(wait, partial(self._let_go, queue))

    def _let_go(self, queue: TagQueue) -> None:
        queue.held_back = False
        self._flush(queue)

    def _gather(self, queue: TagQueue, limit: int) -> Batch:
        before = len(queue.waiting)
        batch = queue.take(limit)
        gone = before - len(queue.waiting) - len(batch.waiters)
        self._call_limit.calls -= gone
        self.counters.abandoned += gone
        return batch

    def _send_for(self, queue: TagQueue, batch: Batch, rest: list[Waiter]) -> None:
        """Send a request; whatever fails here ends it, and frees its place."""
        try:
            spec = alloc_request(queue.app_tag, batch.size)
            request = BatchRequest(self._on_finished, queue, batch, rest, spec, self._clock())
        except Exception as error:  # noqa: BLE001  # told to those who wait
            self._call_limit.calls -= len(batch.waiters) + len(rest)
            self._refused.tell([*batch.waiters, *rest], unexpected(error))
            return
        self._note(request)
        try:
            request.correlation_id = self._pending.add(request)
        except Exception as error:  # noqa: BLE001  # told to those who wait
            request.finish(unexpected(error))

    def _note(self, request: BatchRequest) -> None:
        queue, batch = request.tag_queue, request.batch
        request.carrier = self._carrier_for(batch) if self._traces else None
        alone, full = not self._in_flight, batch.size >= queue.request_size.limit
        request.alone, request.holds_place = alone, not full
        if request.holds_place:
            queue.in_flight += 1
            queue.asked_for += batch.size
        queue.left_at = request.sent_at
        self._in_flight.add(request)
        self.counters.requests += 1
        self.counters.gathered += len(batch.waiters)
        self._watch()

    def _carrier_for(self, batch: Batch) -> Carrier | None:
        first = (promise for promise, _, _ in islice(batch.waiters, _LOOKED_THROUGH))
        traces = [trace for promise in first if (trace := self._traces.get(promise)) is not None]
        return traces[0].carrier(traces) if traces else None

    def _watch(self) -> None:
        """Look after a while at what is in flight: one timer for all of it."""
        if not self._watching and self._in_flight:
            self._watching = True
            self._call_later(_TICK, self._look)

    def _look(self) -> None:
        self._watching = False
        now = self._clock()
        try:
            self._pending.look(now)
            for request in list(self._in_flight):
                if request.deadline <= now:
                    request.finish(self._pending.overdue(request.spec.queue))
                elif now - request.sent_at >= SLOW:
                    self._pending.doubt(request.correlation_id)
                    self._free_place(request)
                    self._flush(request.tag_queue)
        finally:
            self._watch()

    def _free_place(self, request: BatchRequest) -> None:
        if request.holds_place:
            request.holds_place = False
            request.tag_queue.in_flight -= 1
            request.tag_queue.asked_for -= request.batch.size

    # Replies

    def _on_finished(self, request: BatchRequest, outcome: RawReply | IdAllocError) -> None:
        """Share outcomes out, those for a crowd one in a turn of the loop.

        Of replies that come together the second one waits until the callers of the first one had
        their turn, and their next request is on its way. All at once, the whole crowd would be
        served, ask and wait in step: the client would have nothing to do while the worker works.
        Replies for few are shared out together: what these ask for then leaves together.
        """
        if isinstance(outcome, IdAllocError):
            self._finish(request, outcome)
        elif self._served < CROWD:
            self._share_out(request, outcome)
        else:
            self._outcomes.append((request, outcome))

    def _share_out(self, request: BatchRequest, outcome: RawReply) -> None:
        first_of_turn, began = not self._served, self._clock()
        self._served += len(request.batch.waiters) or 1
        self._finish(request, outcome)
        # Behind the callers who were just woken: what they ask for leaves in the same turn.
        self._on_wanted(request.tag_queue)
        if first_of_turn:
            self._call_soon(partial(self._after_turn, began))

    def _after_turn(self, began: float) -> None:
        self._pace.served(self._served, began, self._clock())
        self._served = 0
        while self._outcomes and self._served < CROWD:
            self._share_out(*self._outcomes.popleft())

    def _finish(self, request: BatchRequest, outcome: RawReply | IdAllocError) -> None:
        """Free the place of a request, whatever becomes of its callers, and send the next."""
        self._in_flight.discard(request)
        self._free_place(request)
        self._call_limit.calls -= len(request.batch.waiters) + len(request.rest)
        try:
            self._pending.forget(request.correlation_id)
            if isinstance(outcome, RawReply):
                seconds = self._clock() - request.sent_at
                self.counters.round_trip.observe(seconds)
                self._pending.round_trip.observe(seconds)
            self._conclude(request, outcome)
        except Exception as error:  # noqa: BLE001  # told to those who wait
            _log.exception("An answer could not be divided among its calls")
            self._end_forgotten(request, unexpected(error))
        finally:
            queue, answered = request.tag_queue, request.batch.size
            if isinstance(outcome, IdAllocError) or self._pace.leaves_at_once(queue, answered):
                self._flush(queue)

    def _end_forgotten(self, request: BatchRequest, error: IdAllocError) -> None:
        """End the callers of a request that nobody else will end."""
        elsewhere = {id(promise) for promise, _, _ in self.waiters()}
        self._refused.tell([w for w in request.everybody if id(w[0]) not in elsewhere], error)

    def _conclude(self, request: BatchRequest, outcome: RawReply | IdAllocError) -> None:
        ids = request.read(outcome)
        request.tag_queue.shortcut = ids.shortcut if isinstance(ids, IdBatch) else None
        if request.carrier is not None:
            request.carrier.finished(ids if isinstance(ids, IdAllocError) else None)
        if not isinstance(ids, IdBatch):
            self._refused.handle(request, ids)
            return
        # A refusal is no measure of the way: it may have waited for a database that is away.
        self._pace.came_back(self._clock() - request.sent_at, alone=request.alone)
        queue = request.tag_queue
        queue.request_size.widen()
        queue.dry = False
        self._share(request.batch, ids)
        if request.rest:
            self._call_limit.calls += len(request.rest)
            queue.stand_in_front(request.rest)

    def _share(self, batch: Batch, ids: IdBatch) -> None:
        gone, unused, misfits = batch.hand_out(ids)
        counters = self.counters
        if misfits:
            counters.failed[PeriodError.__name__] += misfits
        counters.ids += batch.size
        counters.ids_unused += unused
        counters.abandoned += gone
        counters.served += len(batch.waiters) - gone - misfits

    def _come_back(self, queue: TagQueue, waiters: list[Waiter]) -> None:
        """Let callers stand in front again, whose pause is over."""
        queue.stand_in_front(waiters)
        self._flush(queue)
