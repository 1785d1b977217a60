"""Sequences of the threaded client, on real workers."""

import contextlib
import copy
import itertools
import pickle
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from devstack.workers import Fleet
from idalloc_client import (
    AppTagNotFoundError,
    CallTimeoutError,
    ClientClosedError,
    IdAllocError,
    IdClient,
    IdSequence,
    InvalidRequestError,
)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Have threads meet in each other's way."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def next_served(ids: IdSequence) -> int:
    """Draw an id, however often it takes longer than the sequence waits."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(IdAllocError):
            return next(ids)
    raise AssertionError("nobody serves")


def test_ids_come_once_and_rise(fleet: Fleet) -> None:
    """A single thread sees rising ids across many leases."""
    fleet.start()
    with IdClient(fleet.amqp_url) as client, client.sequence("test_business", floor=7) as ids:
        drawn = [next(ids) for _ in range(100_000)]
    assert all(first < second for first, second in itertools.pairwise(drawn))


def test_threads_share_a_sequence(fleet: Fleet) -> None:
    """Eight threads on one sequence never see an id twice, and no lease is lost between them."""
    fleet.start()
    drawn: list[list[int]] = []
    with IdClient(fleet.amqp_url) as client:
        ids = client.sequence("test_business", floor=10, cap=500)

        def draw() -> None:
            drawn.append([next(ids) for _ in range(20_000)])

        threads = [threading.Thread(target=draw) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids.close()
        flat = sorted(value for mine in drawn for value in mine)
        assert len(set(flat)) == 160_000
        assert flat[-1] - flat[0] + 1 - len(flat) <= ids.unused


def test_the_history_of_a_shared_sequence(fleet: Fleet, quick_switches: None) -> None:
    """Four threads: each id once, each thread's ids rise, and every leased id is accounted for."""
    fleet.start()  # one worker, so that one lease lies above the other
    drawn: list[list[int]] = []
    with IdClient(fleet.amqp_url) as client:
        ids = client.sequence("test_business", floor=3, cap=200)

        def draw() -> None:
            drawn.append([next(ids) for _ in range(20_000)])

        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ids.close()
        # It comes after the leases that were on their way: one connection, one queue, one worker.
        client.next_id("test_business")
        unused = ids.unused
        [tag] = client.health("test_business").tags
    flat = [value for mine in drawn for value in mine]
    assert len(flat) == len(set(flat)) == 80_000
    for mine in drawn:
        assert all(first < second for first, second in itertools.pairwise(mine))
    # A request that waited for long may have been sent once more, and answered twice.
    assert 0 <= tag.ids_handed_out - (len(flat) + unused + 1) <= 200 * client.stats().resent


def test_a_dead_fleet_is_told_at_the_timeout(fleet: Fleet) -> None:
    """Threads go on for what is leased; each then waits its time, hears why, and goes on later."""
    fleet.start(2)
    timeout = 0.5
    told: list[float] = []
    drawn: list[list[int]] = []
    all_told = threading.Barrier(5)
    workers_again = threading.Event()
    with IdClient(fleet.amqp_url) as client:
        ids = client.sequence("test_business", floor=1000, timeout=timeout)

        def draw() -> None:
            mine: list[int] = []
            drawn.append(mine)
            while True:
                started = time.monotonic()
                try:
                    mine.append(next(ids))
                except CallTimeoutError:
                    told.append(time.monotonic() - started)
                    break
            all_told.wait(60)
            workers_again.wait(60)
            for _ in range(100):
                with contextlib.suppress(IdAllocError):
                    mine.append(next(ids))
                    return

        first = next_served(ids)
        while ids.left < 2900:  # both leases ahead are there
            time.sleep(0.01)
        for worker in fleet.alive():
            worker.kill()
        left = ids.left
        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        all_told.wait(60)
        before = [len(mine) for mine in drawn]
        fleet.start()
        workers_again.set()
        for thread in threads:
            thread.join()
    flat = [first, *(value for mine in drawn for value in mine)]
    assert sum(before) >= left
    assert min(told) >= timeout
    assert [len(mine) for mine in drawn] == [count + 1 for count in before]
    assert len(flat) == len(set(flat))


def test_an_outage_goes_unnoticed_while_cover_lasts(fleet: Fleet) -> None:
    """With all workers gone the leased ids go on; then an error, then ids again."""
    (worker,) = fleet.start()
    with IdClient(fleet.amqp_url) as client:
        ids = client.sequence("test_business", floor=1000, timeout=0.5)
        assert next_served(ids)
        while ids.left < 2900:  # both leases ahead are there
            time.sleep(0.01)
        worker.kill()
        left = ids.left
        assert [next(ids) for _ in range(left)]
        with pytest.raises(IdAllocError):
            next(ids)
        fleet.start()
        assert next_served(ids)


def test_close_returns_nothing_more(fleet: Fleet) -> None:
    """What is left is counted, and a second close changes nothing."""
    fleet.start()
    with IdClient(fleet.amqp_url) as client:
        ids = client.sequence("test_business", floor=50)
        first = next(ids)
        ids.close()
        ids.close()
        assert ids.left == 0
        assert ids.unused >= 49
        for _ in range(3):
            with pytest.raises(ClientClosedError):
                next(ids)
        assert client.next_id("test_business") > first


def test_a_closed_client_ends_its_sequences(fleet: Fleet) -> None:
    """What is leased may still be used; then the error says that the client is closed."""
    fleet.start()
    client = IdClient(fleet.amqp_url)
    ids = client.sequence("test_business", floor=5)
    next(ids)
    client.close()
    for _ in range(ids.left):
        next(ids)
    with pytest.raises(ClientClosedError):
        next(ids)


def test_errors_do_not_end_a_sequence(fleet: Fleet) -> None:
    """A tag that is not there is told at each call, until it is."""
    fleet.start()
    with IdClient(fleet.amqp_url) as client:
        ids = client.sequence("nope")
        for _ in range(3):
            with pytest.raises(AppTagNotFoundError):
                next(ids)
        with pytest.raises(InvalidRequestError):
            client.sequence("a b")


def test_a_sequence_cannot_be_copied(fleet: Fleet) -> None:
    """A copy would hand out the same ids."""
    fleet.start()
    with IdClient(fleet.amqp_url) as client:
        ids = client.sequence("test_business")
        next(ids)
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cop"):
                attempt(ids)
