"""Gives up ids that somebody else may have handed out."""

import logging
from collections.abc import Callable

from idalloc_client.amqp import Link
from idalloc_worker.counters import Counters, Event
from idalloc_worker.engine import Engine, Range
from idalloc_worker.service._clocks import ClockWatch

_log = logging.getLogger("idalloc.worker")


class OtherOwners:
    """Owned by the link's thread. `renew_key` has the fleet take this process for another one."""

    def __init__(  # what it looks at, and whom it tells
        self,
        engines: tuple[Engine, Engine],
        counters: Counters,
        link: Link,
        clocks: ClockWatch,
        renew_key: Callable[[], None],
    ) -> None:
        self._engines = engines
        self._counters = counters
        self._link = link
        self._clocks = clocks
        self._renew_key = renew_key

    def on_foreign_claim(self, app_tag: str, left: int, right: int) -> Range | None:
        """Give up what is held of a tag if another worker owns some of it; tell what there was."""
        pools = [pool for engine in self._engines if (pool := engine.by_tag.get(app_tag))]
        found = [pool.contest(left, right) for pool in pools]
        return next((ours for ours in found if ours is not None), None)

    def on_memory_set_back(self, why: str) -> None:
        """Begin anew, as another worker: the broker delivers again what was not answered."""
        self._forget_all(why)
        self._link.reset_channel(ConnectionResetError("its memory was rolled back"))

    def look_at_clocks(self) -> None:
        """Begin anew if this process stood still while time went on, as a copy of it does."""
        self._look(self.on_memory_set_back)

    def look_before_connecting(self) -> None:
        """Do so before there is a channel: a copy begins here, its connection was another's."""
        self._look(self._forget_all)

    def _look(self, forget: Callable[[str], None]) -> None:
        jump = self._clocks.jumped()
        if jump:
            forget(f"the wall clock went {jump:+.1f} s against the monotonic one")

    def _forget_all(self, why: str) -> None:
        self._counters.events[Event.MEMORY_SET_BACK] += 1
        _log.error(
            "This process seems to have been restored from a snapshot, or copied (%s): it gives up "
            "the ids that it holds, as another one may have handed them out",
            why,
        )
        for engine in self._engines:
            engine.void()
        self._renew_key()
