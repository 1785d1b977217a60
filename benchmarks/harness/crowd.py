"""Runs threads that each call one thing over and over, and counts."""

import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.harness.runner import BenchmarkError

_LIMIT = 30.0  # seconds for the threads to end


def rate(calls: Sequence[Callable[[], object]], seconds: float) -> float:
    """Let each callable run in a thread of its own for some seconds; return calls per second."""
    done = [0] * len(calls)
    errors: list[BaseException] = []
    stop = threading.Event()
    ready = threading.Barrier(len(calls) + 1)

    def caller(index: int, call: Callable[[], object]) -> None:
        ready.wait()
        count = 0
        try:
            while not stop.is_set():
                call()
                count += 1
        except Exception as error:  # noqa: BLE001  # shown by the main thread
            errors.append(error)
        done[index] = count

    threads = [
        threading.Thread(target=caller, args=pair, name=f"caller-{pair[0]}", daemon=True)
        for pair in enumerate(calls)
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join(_LIMIT)
    elapsed = time.perf_counter() - started
    if errors:
        raise errors[0]
    if any(thread.is_alive() for thread in threads):
        raise BenchmarkError(f"a thread got no answer within {_LIMIT:g} s")
    return sum(done) / elapsed
