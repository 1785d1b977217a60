"""Counts what is alive in this process, so that what stays behind can be seen.

It looks from outside, through the garbage collector and /proc, and knows no name inside the client.
"""

import asyncio
import concurrent.futures
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import CoroutineType

PACKAGES = ("idalloc_client", "pika")


def level() -> Counter[str]:
    """Count descriptors, threads, tasks, futures, timers, and each class's objects."""
    gc.collect()
    found: Counter[str] = Counter(_kind_of(thing) for thing in gc.get_objects())
    del found[""]
    found["descriptor"] = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # fewer objects
    found["thread"] = threading.active_count()
    return found


def growth(before: Counter[str], now: Counter[str]) -> Counter[str]:
    """Say what there is more of."""
    return now - before


def settle(before: Counter[str], pause: Callable[[], object], patience: float) -> Counter[str]:
    """Look again until nothing is left over, or patience ends; return what is."""
    until = time.monotonic() + patience
    left = growth(before, level())
    while left and time.monotonic() < until:
        pause()
        left = growth(before, level())
    return left


def _kind_of(thing: object) -> str:
    kind = type(thing)
    if isinstance(thing, asyncio.Task):
        return "" if thing.done() else "task"
    if isinstance(thing, asyncio.Future | concurrent.futures.Future):
        return "future"
    if isinstance(thing, CoroutineType):
        return "coroutine"
    if kind.__name__ == "TimerHandle":  # asyncio's, and uvloop's, which is no subclass of it
        return "" if getattr(thing, "cancelled", bool)() else "timer"
    module = kind.__module__
    if isinstance(module, str) and module.partition(".")[0] in PACKAGES:
        # A timer of pika's that was cancelled stays on its heap for a while, without a callback.
        spent = kind.__name__ == "_Timeout" and getattr(thing, "callback", None) is None
        return "" if spent else f"{module}.{kind.__qualname__}"
    return ""
