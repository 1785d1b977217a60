"""What becomes of the callers of a request that was refused."""

from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from idalloc_client._batching._batch_request import BatchRequest
from idalloc_client._batching._promise import Promise, settle
from idalloc_client._batching._remedy import Remedy, remedy_for
from idalloc_client._batching._resting import Resting
from idalloc_client._batching._tag_queue import Batch, CallLimit, TagQueue, Waiter, size_of
from idalloc_client._errors import IdAllocError, fresh
from idalloc_client._retry import Pause, Refusals, can_pass, overdue_after
from idalloc_client._stats import ClientCounters

SendFor = Callable[[TagQueue, Batch, list[Waiter]], None]


class RefusedCallers:
    """It belongs to the batcher, but for `overdue`, which callers' threads may call."""

    def __init__(  # noqa: PLR0913  # each is another part of its surroundings
        self,
        *,
        counters: ClientCounters,
        call_limit: CallLimit,
        resting: Resting,
        send_for: SendFor,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._counters = counters
        self._call_limit = call_limit
        self._resting = resting
        self._send_for = send_for
        self._clock = clock
        self._jitter = jitter
        self._refusals: WeakKeyDictionary[Promise, Refusals] = WeakKeyDictionary()
        """What callers who were asked for again were answered; it goes with the last who asks."""

    def handle(self, request: BatchRequest, error: IdAllocError) -> None:
        """Ask again, as far as that can help, and tell the others."""
        match remedy_for(error):
            case Remedy.TELL:
                self.tell(request.everybody, error)
            case Remedy.ASK_LATER:
                self._ask_later(request.tag_queue, request.everybody, error)
            case Remedy.ASK_FOR_LESS:
                self._ask_for_less(request, error)
            case Remedy.SPLIT:
                self._split(request, error)

    def tell(self, waiters: Iterable[Waiter], error: IdAllocError) -> None:
        """End calls; to who was answered before and is only out of time, say the answer."""
        for promise, _, _ in waiters:
            self._end(promise, fresh(self.overdue(promise, error)))

    def overdue(self, promise: Promise, error: IdAllocError) -> IdAllocError:
        """Say why a caller has no ids at its deadline; `error` is what the last attempt met."""
        return overdue_after(self._refusals.get(promise), error)

    def _end(self, promise: Promise, error: IdAllocError) -> None:
        if settle(promise, error):
            self._counters.failed[type(error).__name__] += 1
        else:
            self._counters.abandoned += 1

    def _ask_later(self, queue: TagQueue, waiters: list[Waiter], error: IdAllocError) -> None:
        """Let callers rest who have time left, if that can help; tell the others."""
        if not (queue.retry and can_pass(error)):
            self.tell(waiters, error)
            return
        now, jitter = self._clock(), self._jitter()  # one for all: they come back together
        for waiter in self._alive(waiters):
            promise, _, deadline = waiter
            refusals = Refusals.after(self._refusals.get(promise), error, now)
            self._refusals[promise] = refusals
            pause = refusals.pause(deadline - now, jitter)
            if pause is None:
                self._end(promise, refusals.at_last())
            else:
                self._rest(queue, waiter, pause)

    def _rest(self, queue: TagQueue, waiter: Waiter, pause: Pause) -> None:
        self._counters.retried += 1
        self._call_limit.calls += 1
        self._resting.rest(queue, waiter, pause)

    def _ask_for_less(self, request: BatchRequest, error: IdAllocError) -> None:
        batch, queue = request.batch, request.tag_queue
        if len(batch.waiters) > 1 and queue.request_size.narrow(batch.size, error):
            self._ask_at_once(queue, request.everybody)
        else:
            self._ask_later(queue, batch.waiters, error)
            self._ask_at_once(queue, request.rest)

    def _ask_at_once(self, queue: TagQueue, waiters: list[Waiter]) -> None:
        self._counters.retried += len(waiters)
        self._call_limit.calls += len(waiters)
        queue.stand_in_front(waiters)

    def _split(self, request: BatchRequest, error: IdAllocError) -> None:
        """Serve as many as there are ids for: the worker gives all that a request asks for or none.

        Half of the callers at a time, so that it takes few requests to find out. Where there was
        nothing even for the one who wanted least, only one like that is asked for, for all.
        """
        queue, alive = request.tag_queue, self._alive(request.everybody)
        passing = queue.retry and can_pass(error)
        middle = len(request.batch.waiters) // 2
        if middle == 0:  # who wants as many or more cannot be served either
            limit = size_of(request.batch.waiters[0])
            self._ask_later(queue, [each for each in alive if size_of(each) >= limit], error)
            alive = [waiter for waiter in alive if size_of(waiter) < limit]
            middle = len(alive)
            queue.dry = not alive
        elif alive and queue.dry and passing:
            least = min(range(len(alive)), key=lambda place: size_of(alive[place]))
            alive.insert(0, alive.pop(least))
            middle = 1
        if alive:
            self._note(alive, error if passing else None)
            self._call_limit.calls += len(alive)
            self._counters.retried += len(alive)
            self._send_for(queue, Batch(alive[:middle], single=False), alive[middle:])

    def _note(self, waiters: list[Waiter], error: IdAllocError | None) -> None:
        """Keep what was said of several together, for those who hear nothing more in time."""
        if error is not None:
            refusals = Refusals.of_several(error, self._clock())
            for promise, _, _ in waiters:
                self._refusals.setdefault(promise, refusals)

    def _alive(self, waiters: list[Waiter]) -> list[Waiter]:
        """Leave out who has gone."""
        alive = [waiter for waiter in waiters if not waiter[0].done()]
        self._counters.abandoned += len(waiters) - len(alive)
        return alive
