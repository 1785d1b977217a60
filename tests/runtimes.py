"""A worker's surroundings for a test of one of its parts, of which it gives those that are used."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from idalloc_worker._runtime import Runtime
from idalloc_worker.counters._counters import Counters
from idalloc_worker.templates._periods import PeriodTags
from idalloc_worker.templates._watch import TemplateWatch


def _at_once(callback: Callable[[], None]) -> None:
    callback()


def runtime(
    *,
    link: Any = None,
    post: Callable[[Callable[[], None]], None] = _at_once,
    refill_threads: Any = None,
    counters: Counters | None = None,
    clock: Callable[[], float] = lambda: 1000.0,
    traces: Any = None,
) -> Runtime:
    """Make one in which nothing runs by itself."""
    link = link or SimpleNamespace(call_soon=_at_once, call_later=lambda *_: None)
    return Runtime(link, post, refill_threads, counters or Counters(), clock, traces)


def no_periods() -> PeriodTags:
    """Where no tag starts anew."""
    threads = SimpleNamespace(run=lambda _job: None)
    around = runtime(refill_threads=threads)
    return PeriodTags(around, TemplateWatch(around), lambda _row: None, lambda _row: 0)
