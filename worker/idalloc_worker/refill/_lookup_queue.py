"""Finds out which of the tags exist of which nobody has seen a row, apart from all other refills.

Anybody may send any name. So that made-up ones do not stand in front of refills, one statement at a
time asks for many of them; of what it finds each is refilled as any other tag. Users take turns.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from idalloc_worker._runtime import Runtime
from idalloc_worker.store import Job
from idalloc_worker.tags import TagNotFoundError

DIRECT: Final = 2
"""Refills of such tags at a time that need no look first: it would only take the time of one."""

MOST: Final = 500
"""Names in a statement: some milliseconds."""

FEW: Final = 50
PAUSE: Final = 0.1
"""Seconds between two statements if the first one was for more than a few: made-up names cost a
share of the database and of this process, and no more."""


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """One attempt that waits to learn whether there is a row."""

    attempt: int
    app_tag: str
    user: str | None
    on_found: Callable[[], None]
    on_failed: Callable[[Exception], None]


class LookupQueue:
    """Owned by the link's thread. Engines bound how many wait."""

    def __init__(self, runtime: Runtime) -> None:
        self._refill_threads = runtime.refill_threads
        self._post = runtime.post
        self._call_later = runtime.link.call_later
        self._direct: set[int] = set()
        self._wanted: set[int] = set()  # attempts that wait and have not ended
        self._waiting: dict[str | None, deque[Lookup]] = {}
        self._held = 0  # how many, those included that have ended
        self._busy = False

    def add(self, lookup: Lookup) -> None:
        """Have a tag looked up, or refilled at once if hardly anything else is to be looked up."""
        if len(self._direct) < DIRECT and not self._waiting and not self._busy:
            self._direct.add(lookup.attempt)
            lookup.on_found()
            return
        self._wanted.add(lookup.attempt)
        self._waiting.setdefault(lookup.user, deque()).append(lookup)
        self._held += 1
        if not self._busy:
            self._look()

    def ended(self, attempt: int) -> None:
        """Note that an attempt has ended, looked up or not."""
        self._direct.discard(attempt)
        self._wanted.discard(attempt)
        if len(self._wanted) < self._held // 2:  # a database that hangs takes none of them
            self._forget_ended()

    def _forget_ended(self) -> None:
        waiting = {
            user: deque(lookup for lookup in theirs if lookup.attempt in self._wanted)
            for user, theirs in self._waiting.items()
        }
        self._waiting = {user: theirs for user, theirs in waiting.items() if theirs}
        self._held = sum(map(len, self._waiting.values()))

    def _look(self) -> None:
        self._forget_ended()
        self._busy = bool(self._waiting)
        if not self._busy:
            return
        batch = self._next_batch()
        names = tuple({lookup.app_tag: None for lookup in batch})

        def report(found: Any) -> None:
            self._post(lambda: self._on_found(batch, found))

        self._refill_threads.run(Job(lambda store: store.existing(names), report))

    def _next_batch(self) -> list[Lookup]:
        """Take one of each user in turn."""
        batch: list[Lookup] = []
        while self._waiting and len(batch) < MOST:
            user = next(iter(self._waiting))
            theirs = self._waiting.pop(user)
            batch.append(theirs.popleft())
            self._held -= 1
            if theirs:
                self._waiting[user] = theirs  # behind all others
        return batch

    def _on_found(self, batch: list[Lookup], found: frozenset[str] | Exception) -> None:
        for lookup in batch:
            if isinstance(found, Exception):
                lookup.on_failed(found)
            elif lookup.app_tag in found:
                lookup.on_found()
            else:
                lookup.on_failed(TagNotFoundError(lookup.app_tag))
        if len(batch) > FEW:
            self._call_later(PAUSE, self._look)
        else:
            self._look()
