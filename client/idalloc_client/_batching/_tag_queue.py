"""The callers of one tag that wait for a request to take them along, first come first served."""

from collections.abc import Callable
from operator import itemgetter

from idalloc_client._batch import IdBatch, PeriodError
from idalloc_client._batching._promise import Promise, settle
from idalloc_client._batching._request_size import RequestSize
from idalloc_client._batching._task_promise import NOTHING, TaskPromise

Waiter = tuple[Promise, int | None, float]
"""A caller: its promise, how many ids it wants (None: one, as an int), and its deadline.

A tuple, since one is made for each call.
"""

deadline_of: Callable[[Waiter], float] = itemgetter(2)


def size_of(waiter: Waiter) -> int:
    return waiter[1] or 1


class CallLimit:
    """How many callers all queues of a client hold, and how many they may."""

    __slots__ = ("calls", "max_calls")

    def __init__(self, max_calls: int) -> None:
        self.calls = 0
        self.max_calls = max_calls


class Batch:
    """Callers who leave together."""

    __slots__ = ("deadline", "single", "size", "waiters")

    def __init__(
        self, waiters: list[Waiter], *, single: bool, deadline: float | None = None
    ) -> None:
        self.waiters = waiters
        self.deadline = (
            max(map(deadline_of, waiters), default=0.0) if deadline is None else deadline
        )
        """The last of theirs."""
        self.single = single
        """Whether each of them wants one id, as an int."""
        self.size = len(waiters) if single else sum(map(size_of, waiters))

    def hand_out(self, ids: IdBatch) -> tuple[int, int, int]:
        """Give callers their ids.

        Return how many callers had gone, how many ids they leave, and how many want an id without
        its period, which is an error. The ids of those who have gone go to nobody else: whoever
        came later may have seen higher ones.
        """
        if self.single and ids.period is None:
            gone = _one_each(self.waiters, ids)
            return gone, gone, 0
        gone = unused = 0
        taken = misfits = 0
        for promise, count, _ in self.waiters:
            mine = _one_of(ids, taken) if count is None else ids[taken : taken + count]
            taken += count or 1
            if not settle(promise, mine):
                gone += 1
                unused += count or 1
            elif isinstance(mine, PeriodError):
                misfits += 1
        return gone, unused, misfits


class TagQueue:
    """The callers of one tag who have about the same time. It belongs to the batcher.

    Only `full` is read by other threads.
    """

    __slots__ = (
        "_limit",
        "_on_wanted",
        "app_tag",
        "asked_for",
        "dry",
        "eager",
        "extra",
        "flush_pending",
        "flushing",
        "full",
        "held_back",
        "in_flight",
        "left_at",
        "request_size",
        "retry",
        "shortcut",
        "single",
        "waiting",
    )

    def __init__(
        self,
        app_tag: str,
        limit: CallLimit,
        on_wanted: Callable[["TagQueue"], None],
        *,
        retry: bool = True,
    ) -> None:
        self._limit = limit
        self._on_wanted = on_wanted
        self.app_tag = app_tag
        self.retry = retry
        """Whether its callers are asked for again, where an answer says that this can help."""
        self.dry = False
        """Whether the least that anybody wanted was refused, and nothing was given since."""
        self.request_size = RequestSize()
        self.waiting: list[Waiter] = []
        self.single = True
        """Whether all who wait want one id, as an int, and nobody is known to have gone."""
        self.extra = 0
        """Ids wanted beyond one for each who waits."""
        self.in_flight = 0
        self.asked_for = 0
        """Ids that those in flight ask for."""
        self.left_at = 0.0
        """When its last request left."""
        self.held_back = False
        """Whether a timer lets the next request go."""
        self.shortcut: str | None = None
        """The queue of the tag's owner, if the last answer named it: a request may go there."""
        self.eager = True
        """Whether the next caller makes a request leave."""
        self.full = False
        """Whether single calls wait until a request comes back; whoever frees a place looks."""
        self.flush_pending = False
        self.flushing = False

    @property
    def wanted(self) -> int:
        return len(self.waiting) + self.extra

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self.waiting or self.in_flight or self.flush_pending)

    def join(self, promise: Promise, deadline: float) -> bool:
        """Take a caller in who wants one id, unless there are too many."""
        limit = self._limit
        if limit.calls >= limit.max_calls:
            return False
        limit.calls += 1
        self.waiting.append((promise, None, deadline))
        if self.eager:
            self.eager = False
            self._on_wanted(self)
        return True

    def join_for(self, promise: Promise, count: int, deadline: float) -> bool:
        if not self.join(promise, deadline):
            return False
        self.waiting[-1] = (promise, count, deadline)
        self.single = False
        self.extra += count - 1
        self._on_wanted(self)
        return True

    def take(self, limit: int) -> Batch:
        """Let the first ones go: as many as want no more than `limit` ids, and one at least."""
        waiting = self.waiting
        if self.wanted <= limit:
            number = len(waiting)
        elif not self.extra:
            number = max(limit, 1)
        else:
            number = _how_many(waiting, limit)
        taken = waiting[:number]
        del waiting[:number]
        if self.single and taken:  # the last one came last, and has as long as the others
            return Batch(taken, single=True, deadline=deadline_of(taken[-1]))
        self.extra -= sum(map(size_of, taken)) - len(taken)
        self.single = not waiting
        taken = [waiter for waiter in taken if not waiter[0].done()]
        return Batch(taken, single=all(waiter[1] is None for waiter in taken))

    def stand_in_front(self, waiters: list[Waiter]) -> None:
        """Take callers in again, before all others."""
        self.waiting[:0] = waiters
        self.single = False
        self.extra += sum(map(size_of, waiters)) - len(waiters)


def _one_each(waiters: list[Waiter], ids: IdBatch) -> int:
    """Give each caller one id, and return how many had gone."""
    gone, woken = 0, []
    for (promise, _, _), value in zip(waiters, ids, strict=True):
        if type(promise) is TaskPromise and promise.outcome is NOTHING:
            promise.outcome = value
            woken.append(promise)
        else:
            gone += not settle(promise, value)
    if woken:
        woken[0].waker.wake(woken)
    return gone


def _one_of(ids: IdBatch, place: int) -> int | PeriodError:
    one = ids[place]
    if ids.period is None:
        return one
    return PeriodError(IdBatch([(one, one + 1)], ids.worker, ids.period, ids.app_tag))


def _how_many(waiting: list[Waiter], limit: int) -> int:
    total = 0
    for number, waiter in enumerate(waiting):
        total += waiter[1] or 1
        if number and total > limit:
            return number
    return len(waiting)
