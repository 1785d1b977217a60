"""Turns many calls for ids into few requests, on its link's thread: later calls gather."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import frexp

from idalloc_client._batch import IdBatch
from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._batching._promise import Promise, settle
from idalloc_client._batching._remedy import Remedy, remedy_for
from idalloc_client._batching._tag_queue import Batch, CallLimit, TagQueue, Waiter, size_of
from idalloc_client._errors import IdAllocError, TooManyCallsError, fresh, unexpected
from idalloc_client._rpc import PendingCalls, RawReply, alloc_request
from idalloc_client._stats import Carrier, ClientCounters

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
        before_flush: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`before_flush` is called when a request may leave, to let callers join it."""
        self._pending = pending
        self._call_soon = call_soon
        self._call_later = call_later
        self._before_flush = before_flush
        self._clock = clock
        self._call_limit = CallLimit(max_calls)
        self._queues: dict[int, TagQueues] = {}
        self._queue_count = 0
        self._queues_at_next_look = _IDLE_QUEUES
        self._in_flight: set[BatchRequest] = set()
        self._resting: dict[object, tuple[TagQueue, list[Waiter]]] = {}
        """Callers who are asked for again after a pause, while their queues go on without them."""
        self._outcomes: deque[tuple[BatchRequest, RawReply]] = deque()
        self._served = 0
        """Callers who were served in this turn of the loop."""
        self._watching = False
        self.counters: ClientCounters = pending.counters

    @property
    def calls(self) -> int:
        return self._call_limit.calls

    # Callers

    def queues(self, timeout: float) -> TagQueues:
        """Return the queues of callers who have about so many seconds, by tag.

        A request has one expiration: callers with a second and callers with a minute do not share
        it. A tag that is in here is a valid one.
        """
        return self._queues.setdefault(frexp(timeout)[1], {})

    def queue(self, app_tag: str, timeout: float) -> TagQueue:
        """Return a queue to join; `app_tag` is valid."""
        queues = self.queues(timeout)
        queue = queues.get(app_tag)
        if queue is None:
            if self._queue_count >= self._queues_at_next_look:
                self._drop_idle_queues()
            queue = queues[app_tag] = TagQueue(app_tag, self._call_limit, self._on_wanted)
            self._queue_count += 1
        return queue

    def add(
        self, app_tag: str, waiter: Waiter, timeout: float, carrier: Carrier | None = None
    ) -> None:
        """Take a call; `app_tag` is valid, and `carrier` has the caller's trace context."""
        promise, count, deadline = waiter
        queue = self.queue(app_tag, timeout)
        if not queue.waiting:
            queue.carrier = carrier
        if count is None:
            joined = queue.join(promise, deadline)
            queue.single = False  # it may leave without a word
        else:
            joined = queue.join_for(promise, count, deadline)
        if not joined:
            self.refuse(promise)

    def refuse(self, promise: Promise) -> None:
        error = TooManyCallsError(f"{self._call_limit.max_calls} calls are in flight already")
        self._fail([(promise, None, 0.0)], error)

    def waiters(self) -> Iterator[Waiter]:
        """Walk through all callers, whether their request has left or not."""
        for queues in self._queues.values():
            for queue in queues.values():
                yield from queue.waiting
        for request in self._in_flight:
            yield from request.everybody
        for _, resting in self._resting.values():
            yield from resting

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
                self._fail(batch.waiters, error)
        for _, resting in self._resting.values():
            self._call_limit.calls -= len(resting)
            self._fail(resting, error)
        self._resting.clear()

    def _drop_idle_queues(self) -> None:
        """Forget tags that are not in use: a client may meet any number of them."""
        # Also of those in flight that hold no place: their callers may have to stand in line again.
        in_use = {request.tag_queue for request in self._in_flight}
        in_use.update(queue for queue, _ in self._resting.values())
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
            queue.full = queue.in_flight >= REQUESTS_IN_FLIGHT
            queue.eager = not queue.full

    def _send_next(self, queue: TagQueue) -> bool:
        """Let the first ones of a queue go; False if they have to wait."""
        wanted, places = queue.wanted, REQUESTS_IN_FLIGHT - queue.in_flight
        if places <= 0 and wanted < queue.request_size.limit:
            return False
        batch = self._gather(queue, queue.request_size.piece(wanted, places))
        if batch.waiters:
            self._send_for(queue, batch, [])
        return True

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
            self._fail([*batch.waiters, *rest], unexpected(error))
            return
        self._note(request)
        try:
            request.correlation_id = self._pending.add(request)
        except Exception as error:  # noqa: BLE001  # told to those who wait
            request.finish(unexpected(error))

    def _note(self, request: BatchRequest) -> None:
        queue, batch = request.tag_queue, request.batch
        request.carrier, queue.carrier = queue.carrier, None
        request.holds_place = batch.size < queue.request_size.limit
        queue.in_flight += request.holds_place
        self._in_flight.add(request)
        self.counters.requests += 1
        self.counters.gathered += len(batch.waiters)
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
        if not self._served:
            self._call_soon(self._after_turn)
        self._served += len(request.batch.waiters) or 1
        self._finish(request, outcome)

    def _after_turn(self) -> None:
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
            _log.exception("An answer could not be shared out")
            self._end_forgotten(request, unexpected(error))
        finally:
            self._flush(request.tag_queue)

    def _end_forgotten(self, request: BatchRequest, error: IdAllocError) -> None:
        """End the callers of a request that nobody else will end."""
        elsewhere = {id(promise) for promise, _, _ in self.waiters()}
        self._fail((w for w in request.everybody if id(w[0]) not in elsewhere), error)

    def _conclude(self, request: BatchRequest, outcome: RawReply | IdAllocError) -> None:
        ids = request.read(outcome)
        if isinstance(ids, IdBatch):
            request.tag_queue.request_size.widen()
            self._share(request.batch, ids)
            if request.rest:
                self._stand_in_front(request.tag_queue, request.rest)
            return
        match remedy_for(ids):
            case Remedy.TELL:
                self._fail(request.everybody, ids)
            case Remedy.ASK_LATER:
                self._ask_later(request, ids)
            case Remedy.ASK_FOR_LESS:
                self._ask_for_less(request, ids)
            case Remedy.SPLIT:
                self._split(request, ids)

    def _share(self, batch: Batch, ids: IdBatch) -> None:
        gone, unused = batch.hand_out(ids)
        counters = self.counters
        counters.ids += batch.size
        counters.ids_unused += unused
        counters.abandoned += gone
        counters.served += len(batch.waiters) - gone

    def _ask_later(self, request: BatchRequest, error: IdAllocError) -> None:
        pause = getattr(error, "retry_after", None) or 0.0
        in_time = self._clock() + pause
        self._fail((w for w in request.everybody if w[2] <= in_time), error)
        self._try_again(request.tag_queue, [w for w in request.everybody if w[2] > in_time], pause)

    def _ask_for_less(self, request: BatchRequest, error: IdAllocError) -> None:
        batch, request_size = request.batch, request.tag_queue.request_size
        if len(batch.waiters) > 1 and request_size.narrow(batch.size, error):
            self._try_again(request.tag_queue, request.everybody, 0.0)
        else:
            self._fail(batch.waiters, error)
            self._try_again(request.tag_queue, request.rest, 0.0)

    def _split(self, request: BatchRequest, error: IdAllocError) -> None:
        """Serve as many as there are ids for: the worker gives all that a request asks for or none.

        Half of the callers at a time, so that it takes few requests to find out.
        """
        everybody = request.everybody
        alive = [waiter for waiter in everybody if not waiter[0].done()]
        self.counters.abandoned += len(everybody) - len(alive)
        middle = len(request.batch.waiters) // 2
        if middle == 0:  # who wants as many or more cannot be served either
            limit = size_of(request.batch.waiters[0])
            self._fail((waiter for waiter in alive if size_of(waiter) >= limit), error)
            alive = [waiter for waiter in alive if size_of(waiter) < limit]
            middle = len(alive)
        if alive:
            self._call_limit.calls += len(alive)
            self.counters.retried += len(alive)
            self._send_for(request.tag_queue, Batch(alive[:middle], single=False), alive[middle:])

    def _stand_in_front(self, queue: TagQueue, waiters: list[Waiter]) -> None:
        self._call_limit.calls += len(waiters)
        queue.stand_in_front(waiters)

    def _try_again(self, queue: TagQueue, waiters: list[Waiter], pause: float) -> None:
        """Let callers stand in front again, after a pause in seconds that holds up nobody else."""
        self.counters.retried += len(waiters)
        if not pause:
            self._stand_in_front(queue, waiters)
            return
        self._call_limit.calls += len(waiters)
        key = object()
        self._resting[key] = queue, waiters
        self._call_later(pause, partial(self._go_on, key))

    def _go_on(self, key: object) -> None:
        if key in self._resting:  # else they were ended meanwhile
            queue, waiters = self._resting.pop(key)
            queue.stand_in_front(waiters)
            self._flush(queue)

    def _fail(self, waiters: Iterable[Waiter], error: IdAllocError) -> None:
        kind = type(error).__name__
        for promise, _, _ in waiters:
            if settle(promise, fresh(error)):
                self.counters.failed[kind] += 1
            else:
                self.counters.abandoned += 1
