"""What the parts of a worker share: its loop, its refill threads, its counters and its clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from idalloc_client.amqp import Link
from idalloc_worker.counters import Counters
from idalloc_worker.store import RefillThreads
from idalloc_worker.traces import Traces


@dataclass(frozen=True, slots=True)
class Runtime:
    """All but `post` belongs to the link's thread, which `post` reaches from any other."""

    link: Link
    post: Callable[[Callable[[], None]], None]
    refill_threads: RefillThreads
    counters: Counters
    clock: Callable[[], float] = time.monotonic
    traces: Traces | None = None
