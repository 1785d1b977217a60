"""Threads that share a sequence, for long enough to find what happens once in a million times."""

import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from itertools import chain

import pytest

from idalloc_client import IdAllocError, IdBatch
from idalloc_client._sequences._lease_size import LeaseLimits
from idalloc_client._sequences._sequence import new_sequence

THREADS = 8
EACH = 1_250_000
PIECE = 1000


@pytest.fixture
def busy_switching() -> Iterator[None]:
    """Have an interpreter with a global lock go from thread to thread as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.long
@pytest.mark.usefixtures("busy_switching")
def test_ten_million_ids() -> None:
    """None is there twice. Without a lock, Python 3.13t gives some twice in each million."""
    lock, last = threading.Lock(), 0

    def lease(count: int, on_answer: Callable[[IdBatch | IdAllocError], None]) -> None:
        nonlocal last
        with lock:
            first, last = last + 1, last + count
        on_answer(IdBatch([(first, first + count)]))

    ids = new_sequence(lease, LeaseLimits(1000, 100_000, 1.0), timeout=60.0)
    drawn = [array("q") for _ in range(THREADS)]
    together = threading.Barrier(THREADS)

    def take(mine: "array[int]") -> None:
        together.wait()
        for _ in range(EACH // PIECE):
            mine.extend([next(ids) for _ in range(PIECE)])

    threads = [threading.Thread(target=take, args=[mine]) for mine in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = bytearray(last + 1)
    for value in chain(*drawn):
        seen[value] += 1
    assert sum(map(len, drawn)) == THREADS * EACH
    assert max(seen) == 1
