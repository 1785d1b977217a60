"""Ids in memory that is a copy: of the process that forked this one, or of an earlier time."""

import ast
import asyncio
import logging
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from idalloc_client import (
    AsyncIdClient,
    ClientClosedError,
    IdAllocError,
    IdBatch,
    IdClient,
    after_restore,
)
from idalloc_client import _memory as memory_module
from idalloc_client._memory import MEMORY, LeasePage, Memory, Process
from idalloc_client._sequences._async_sequence import AsyncIdSequence
from idalloc_client._sequences._lease_size import LeaseLimits
from idalloc_client._sequences._sequence import IdSequence, new_sequence
from tests.forks import in_child

LIMITS = LeaseLimits(floor=10, cap=10, cover=1.0)
PATIENCE = 60.0  # seconds

OnAnswer = Callable[[IdBatch | IdAllocError], None]


class Worker:
    """Leases the next ids at once; in each process those of another thousand."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        self.last = 0
        self.held: list[tuple[int, OnAnswer]] | None = None

    def lease(self, count: int, on_answer: OnAnswer) -> None:
        if self.held is None:
            on_answer(self.ids(count))
        else:
            self.held.append((count, on_answer))

    def ids(self, count: int) -> IdBatch:
        first, self.last = self.last + 1, self.last + count
        offset = 0 if os.getpid() == self.parent else 1000
        return IdBatch([(offset + first, offset + first + count)])


@pytest.fixture
def no_wiping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a system whose kernel wipes nothing in children."""
    monkeypatch.setattr(memory_module, "_wiped_in_children", lambda _size: None)
    monkeypatch.setattr(MEMORY, "_process", None)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the seconds by which the wall clock is ahead of the monotonic one."""
    gap = [1000.0]
    monkeypatch.setattr(MEMORY, "_process", Process(lambda: gap[0]))
    return gap


def check_child(ids: IdSequence) -> None:
    """Draw ids in parent and child, and see that the child's are its own."""
    assert list(islice(ids, 3)) == [1, 2, 3]
    told = in_child(lambda: (ids.left, list(islice(ids, 25)), ids.unused))
    left, drawn, unused = ast.literal_eval(told)
    assert left == unused == 0
    assert min(drawn) > 1000
    assert len(set(drawn)) == 25
    assert list(islice(ids, 7)) == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("locked", [False, True])
def test_a_child_that_c_forked_leases_its_own(locked: bool) -> None:  # noqa: FBT001
    """It gets none of its parent's ids, and the parent goes on with them."""
    check_child(new_sequence(Worker().lease, LIMITS, PATIENCE, locked=locked))


@pytest.mark.usefixtures("no_wiping")
def test_a_child_leases_its_own_where_no_kernel_helps() -> None:
    """There the process id is compared for each id."""
    check_child(new_sequence(Worker().lease, LIMITS, PATIENCE))


def test_the_child_of_a_child() -> None:
    """Each generation is noticed."""
    ids = new_sequence(Worker().lease, LIMITS, PATIENCE)
    next(ids)
    told = in_child(lambda: (next(ids), in_child(lambda: list(islice(ids, 3))), next(ids)))
    assert told == "(1031, '[1061, 1062, 1063]', 1032)"


@pytest.fixture
def no_logging() -> Iterator[None]:
    """Keep the locks of logging handlers out of it, which a child of C may get in locked state."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("no_logging")
def test_a_child_that_forks_while_threads_hold_every_lock() -> None:
    """What is locked in the parent stays locked for ever in the child's copy: it is not used."""
    ids = new_sequence(Worker().lease, LIMITS, PATIENCE)
    client = IdClient("amqp://127.0.0.1:1/")
    session: Any = client._session
    sequence = client.sequence("order", timeout=0.01)
    with pytest.raises(IdAllocError):
        next(sequence)
    next(ids)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        locks = (
            MEMORY._locks,
            session._locks,
            client._sequences._locks,
            ids._supply._locks,
        )
        with ids._supply.source()._lock, sequence._supply.source()._lock:
            for each in locks:
                each.mine().acquire()
            held.set()
            release.wait(60)
            for each in locks:
                each.mine().release()

    def work() -> object:
        with pytest.raises(IdAllocError):
            next(sequence)
        failed = client.stats().sequences.leases_failed
        client.close()
        return next(ids) > 1000, failed

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    told = in_child(work)
    release.set()
    thread.join()
    client.close()
    assert told == "(True, 0)"


def test_a_closed_sequence_is_closed_in_a_child() -> None:
    """A fork opens nothing again."""
    ids = new_sequence(Worker().lease, LIMITS, PATIENCE)
    next(ids)
    ids.close()

    def work() -> bool:
        with pytest.raises(ClientClosedError):
            next(ids)
        return ids.closed

    assert in_child(work) == "True"


def lease_on_loop(worker: Worker) -> "Callable[[int], asyncio.Future[IdBatch]]":
    def lease(count: int) -> "asyncio.Future[IdBatch]":
        promise: asyncio.Future[IdBatch] = asyncio.get_running_loop().create_future()
        worker.lease(count, promise.set_result)  # type: ignore[arg-type]  # it never fails
        return promise

    return lease


async def draw(ids: AsyncIdSequence, count: int) -> list[int]:
    return [await anext(ids) for _ in range(count)]


def test_tasks_in_a_child_lease_their_own() -> None:
    """The same on asyncio, on a loop of the child's own."""
    ids = AsyncIdSequence(lease_on_loop(Worker()), LIMITS, PATIENCE)
    with asyncio.Runner() as runner:
        assert runner.run(draw(ids, 3)) == [1, 2, 3]
    drawn = ast.literal_eval(in_child(lambda: asyncio.run(draw(ids, 25))))
    assert min(drawn) > 1000
    assert len(set(drawn)) == 25
    assert asyncio.run(draw(ids, 7)) == [4, 5, 6, 7, 8, 9, 10]


@pytest.fixture(params=["wall clock", "hook"])
def set_back(request: pytest.FixtureRequest, clocks: list[float]) -> Callable[[], None]:
    """Do to this process what a restore does, as far as it can be noticed."""

    def by_clock() -> None:
        clocks[0] += 60
        MEMORY.process().look_at_clocks()

    return by_clock if request.param == "wall clock" else after_restore


def test_leases_of_before_a_restore_are_void(set_back: Callable[[], None]) -> None:
    """Whatever was leased may have gone out since the snapshot; it is counted as unused."""
    ids = new_sequence(Worker().lease, LIMITS, PATIENCE)
    assert next(ids) == 1
    set_back()
    assert next(ids) == 31
    left, unused = ids.left, ids.unused
    set_back()
    assert ids.left == 0
    assert ids.unused == unused + left


def test_a_sequence_looks_at_the_clocks_before_it_goes_on(clocks: list[float]) -> None:
    """Whether anybody else has looked yet or not: its next ids are of now."""
    ids = new_sequence(Worker().lease, LIMITS, PATIENCE)
    assert list(islice(ids, 10)) == list(range(1, 11))
    clocks[0] += 60
    assert next(ids) == 31


def test_tasks_drop_leases_of_before_a_restore(set_back: Callable[[], None]) -> None:
    """The same on asyncio."""

    async def run() -> None:
        ids = AsyncIdSequence(lease_on_loop(Worker()), LIMITS, PATIENCE)
        assert await anext(ids) == 1
        await asyncio.sleep(0)
        set_back()
        assert ids.unused == 29
        assert await anext(ids) == 31

    asyncio.run(run())


def test_a_lease_that_was_on_its_way_at_a_restore_is_void(set_back: Callable[[], None]) -> None:
    """Its answer may be from before, too."""
    worker = Worker()
    ids = new_sequence(worker.lease, LIMITS, PATIENCE)
    list(islice(ids, 10))
    worker.held = []
    next(ids)
    [(count, on_answer)] = worker.held
    set_back()
    assert ids.left == 0
    on_answer(worker.ids(count))  # 31 to 40
    worker.held = None
    assert ids.unused == 19 + 10
    assert next(ids) == 41


def test_what_a_chain_holds_is_void(clocks: list[float]) -> None:
    """Also ids that a thread is just about to take, whose lock and page it has looked at."""
    page = LeasePage()
    held = page.guard(iter(range(100)))
    assert next(held) == 0
    page.revoke()
    assert list(held) == []


@pytest.mark.usefixtures("no_wiping")
def test_a_restore_where_no_kernel_helps(clocks: list[float]) -> None:
    """It has the same effect."""
    test_what_a_chain_holds_is_void(clocks)


def test_a_leap_second_is_no_restore(clocks: list[float]) -> None:
    """Nor are clocks that drift apart."""
    ids = new_sequence(Worker().lease, LIMITS, PATIENCE)
    drawn = []
    for _ in range(30):
        clocks[0] -= 1.0
        MEMORY.process().look_at_clocks()
        drawn.append(next(ids))
    assert drawn == list(range(1, 31))


def test_an_emulator_that_says_yes_to_all_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some know no advice, and do nothing: then the process id is compared."""

    class Heedless(mmap.mmap):
        def madvise(self, *_: int) -> None:
            """Say yes."""

    assert memory_module._wiped_in_children(16) is not None
    monkeypatch.setattr(mmap, "mmap", Heedless)
    assert memory_module._wiped_in_children(16) is None


def test_a_process_is_known_by_its_memory() -> None:
    """A process id may come again; memory that was wiped says that it is another process."""
    memory = Memory()
    process = memory.process()
    assert memory.process() is process
    told = in_child(lambda: (process.gone, memory.process() is process, memory.process().gone))
    assert told == "(True, False, False)"
    assert not process.gone


def test_an_interpreter_without_a_global_lock_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No id leaves while another thread takes one."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    ids = new_sequence(Worker().lease, LIMITS, PATIENCE)
    assert next(ids) == 1
    drawn: list[int] = []
    thread = threading.Thread(target=lambda: drawn.append(next(ids)))
    with ids._supply.source()._lock:
        thread.start()
        thread.join(0.05)
        assert drawn == []
    thread.join()
    assert drawn == [2]


@pytest.mark.parametrize("locked", [None, True])
def test_threads_never_share_an_id(locked: bool | None) -> None:  # noqa: FBT001
    """On whatever interpreter this runs: each leased id goes out once, or is counted."""
    worker = Worker()
    ids = new_sequence(worker.lease, LeaseLimits(1000, 1000, 1.0), PATIENCE, locked=locked)
    drawn: list[list[int]] = []

    def take() -> None:
        drawn.append([next(ids) for _ in range(5000)])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flat = [value for mine in drawn for value in mine]
    assert len(set(flat)) == len(flat) == 40_000
    ids.close()
    assert worker.last == 40_000 + ids.unused


def test_an_asynchronous_client_on_its_parents_loop_is_told() -> None:
    """A loop that parent and child would both run can serve neither: the error says so."""

    async def run() -> str:
        client = AsyncIdClient("amqp://127.0.0.1:1/")
        with pytest.raises(IdAllocError):
            await client.next_id("order", timeout=0.01)

        def work() -> str:
            step = client.next_id("order").__await__()
            try:
                next(step)
            except IdAllocError as error:
                return type(error).__name__
            return "no error"

        told = in_child(work)
        await client.close()
        return told

    assert asyncio.run(run()) == "'ForkedClientError'"
