"""Callers who are asked for again after a pause, while their queues go on without them."""

from collections.abc import Callable, Iterator

from idalloc_client._batching._tag_queue import TagQueue, Waiter
from idalloc_client._retry import Pause


class _Group:
    """Callers of one queue who come back together."""

    __slots__ = ("due", "waiters")

    def __init__(self, due: float) -> None:
        self.due = due
        self.waiters: list[Waiter] = []


class Resting:
    """It belongs to the batcher. Who may come back together does, so that few requests leave.

    Nobody comes back before its own pause is over: callers in a hurry do not make others ask
    more often.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        come_back: Callable[[TagQueue, list[Waiter]], None],
    ) -> None:
        """`come_back` takes those whose pause is over."""
        self._call_later = call_later
        self._clock = clock
        self._come_back = come_back
        self._groups: dict[TagQueue, list[_Group]] = {}

    def rest(self, queue: TagQueue, waiter: Waiter, pause: Pause) -> None:
        """Let a caller come back within its pause's bounds."""
        now = self._clock()
        groups = self._groups.setdefault(queue, [])
        for group in groups:
            if pause.earliest <= group.due - now <= pause.latest:
                group.waiters.append(waiter)
                return
        group = _Group(now + pause.latest)
        group.waiters.append(waiter)
        groups.append(group)
        self._call_later(pause.latest, lambda: self._end_pause(queue, group))

    def queues(self) -> Iterator[TagQueue]:
        """Walk through the queues that somebody comes back to."""
        return iter(self._groups)

    def waiters(self) -> Iterator[Waiter]:
        for groups in self._groups.values():
            for group in groups:
                yield from group.waiters

    def end(self) -> list[Waiter]:
        """Forget everybody: they are told something else."""
        ended = list(self.waiters())
        self._groups.clear()
        return ended

    def _end_pause(self, queue: TagQueue, group: _Group) -> None:
        groups = self._groups.get(queue, [])
        if group not in groups:
            return  # they were ended meanwhile
        groups.remove(group)
        if not groups:
            del self._groups[queue]
        self._come_back(queue, group.waiters)
