"""A promise to a thread: one side wins, and nobody waits for ever."""

import concurrent.futures
import threading

import pytest

from idalloc_client._batching._promise import ThreadPromise, settle


def test_the_outcome_reaches_the_waiter() -> None:
    """A result is returned, an error is raised."""
    result, error = ThreadPromise(), ThreadPromise()
    threading.Timer(0.01, result.set_result, (7,)).start()
    assert result.wait(30)
    assert result.outcome() == 7
    assert settle(error, ValueError("no"))
    assert error.wait(30)
    with pytest.raises(ValueError, match="no"):
        error.outcome()


def test_time_that_is_up_cancels() -> None:
    """Afterwards the other side is told that it is too late."""
    promise = ThreadPromise()
    assert not promise.wait(0.001)
    assert promise.done()
    assert not settle(promise, 1)
    with pytest.raises(concurrent.futures.InvalidStateError):
        promise.set_result(1)


def test_exactly_one_side_wins() -> None:
    """Settling and cancelling at one instant: either both say that it was settled, or neither."""
    for number in range(2000):
        promise = ThreadPromise()
        settled: list[bool] = []
        start = threading.Barrier(2)

        def other(promise: ThreadPromise = promise, start: threading.Barrier = start) -> None:
            start.wait()
            settled.append(settle(promise, 1))  # noqa: B023  # it ends with this round

        thread = threading.Thread(target=other)
        thread.start()
        start.wait()
        got = promise.wait(0 if number % 2 else 0.00001)
        thread.join()
        assert settled == [got]
