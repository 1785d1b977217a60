"""Sequences whose leases come, fail and come again as the test says; no broker."""

import asyncio
import copy
import gc
import pickle
import threading
import time
from collections.abc import Callable
from itertools import islice

import pytest

from idalloc_client import (
    AsyncIdClient,
    ClientClosedError,
    ConnectionLostError,
    IdAllocError,
    IdBatch,
    IdClient,
    IdSequence,
    NoAvailableIdError,
)
from idalloc_client._sequences import _sequence as sequences
from idalloc_client._sequences._async_sequence import AsyncIdSequence
from idalloc_client._sequences._lease_size import LeaseLimits
from idalloc_client._sequences._sequence import new_sequence
from idalloc_schemas import ErrorReply, RespCode

LIMITS = LeaseLimits(floor=10, cap=10, cover=1.0)
PATIENCE = 60.0  # seconds
PAUSE = 0.2  # seconds: more than there are before the next attempt
SHORTLY = 0.02  # seconds: after the caller has begun to wait

OnAnswer = Callable[[IdBatch | IdAllocError], None]


def out_of_ids() -> NoAvailableIdError:
    reply = ErrorReply(resp_code=RespCode.NO_AVAILABLE_ID, msg="no ids", retry_after_ms=1)
    return NoAvailableIdError(reply)


class Worker:
    """Answers leases at once, or not: then the test does."""

    def __init__(self) -> None:
        self.asked: list[OnAnswer] = []
        self.last = 0
        self.up = True

    def lease(self, count: int, on_answer: OnAnswer) -> None:
        self.asked.append(on_answer)
        if self.up:
            self.answer()

    def answer(self) -> None:
        """Give all leases that were asked for."""
        while self.asked:
            self.asked.pop()(self.ids())

    def ids(self) -> IdBatch:
        first, self.last = self.last + 1, self.last + 10
        return IdBatch([(first, first + 10)])

    def fail(self) -> None:
        """Refuse all leases that were asked for."""
        while self.asked:
            self.asked.pop()(out_of_ids())


def test_an_old_error_is_not_told() -> None:
    """A lease that failed while there were ids is asked for again, and that answer counts."""
    worker = Worker()
    ids = new_sequence(worker.lease, LIMITS, PATIENCE)
    next(ids)
    left = ids.left
    worker.up = False
    assert len(list(islice(ids, 15))) == 15  # a page was turned, and a lease asked for
    worker.fail()
    time.sleep(PAUSE)
    assert len(list(islice(ids, left - 15))) == left - 15
    assert ids.left == 0
    threading.Timer(SHORTLY, worker.answer).start()
    assert next(ids) == left + 2


def test_an_error_of_now_is_told() -> None:
    """Who waits for the lease that fails hears of it at once, if it wants the first answer."""
    worker = Worker()
    worker.up = False
    ids = new_sequence(worker.lease, LIMITS, PATIENCE, retry=False)
    threading.Timer(SHORTLY, worker.fail).start()
    with pytest.raises(NoAvailableIdError):
        next(ids)


def test_a_refusal_that_passes_is_waited_out() -> None:
    """Who waits gets the ids that a later lease brings."""
    worker = Worker()
    worker.up = False
    ids = new_sequence(worker.lease, LIMITS, PATIENCE)
    refused = threading.Event()

    def lease_again() -> None:
        worker.up = True
        worker.fail()
        refused.set()

    threading.Timer(SHORTLY, lease_again).start()
    assert next(ids) == 1
    assert refused.is_set()


def test_a_refusal_that_lasts_is_told_when_the_time_is_over() -> None:
    """With how often it was asked, and the last answer as the cause; then it begins anew."""
    worker = Worker()

    def refuse(_count: int, on_answer: OnAnswer) -> None:
        worker.asked.append(on_answer)
        worker.fail()

    ids = new_sequence(refuse, LIMITS, 0.5)
    begun = time.monotonic()
    with pytest.raises(NoAvailableIdError, match=r"refused \d+ times in") as caught:
        next(ids)
    assert time.monotonic() >= begun + 0.5
    assert isinstance(caught.value.__cause__, NoAvailableIdError)


def test_a_refusal_that_lasts_is_told_to_tasks_when_the_time_is_over() -> None:
    """The same on asyncio, and what passes is waited out there, too."""

    async def run() -> None:
        worker = Worker()
        worker.up = False
        ids = AsyncIdSequence(lease_on_loop(worker), LIMITS, PATIENCE)

        def lease_again() -> None:
            worker.up = True
            worker.fail()

        asyncio.get_running_loop().call_later(SHORTLY, lease_again)
        assert await anext(ids) == 1
        worker.up = False
        hasty = AsyncIdSequence(lease_on_loop(worker), LIMITS, 0.5)
        asyncio.get_running_loop().call_later(SHORTLY, worker.fail)
        with pytest.raises(NoAvailableIdError, match="refused once"):
            await anext(hasty)
        first_answer = AsyncIdSequence(lease_on_loop(worker), LIMITS, PATIENCE, retry=False)
        asyncio.get_running_loop().call_later(SHORTLY, worker.fail)
        with pytest.raises(NoAvailableIdError, match=r"no ids$"):
            await anext(first_answer)

    asyncio.run(run())


def test_each_thread_hears_its_own_error() -> None:
    """What one thread is to raise does not reach another one that comes by."""
    stand_in = sequences._Raises()
    own = IdAllocError("for the thread that waited")
    stand_in.to_this_thread(own)
    heard: list[object] = []

    def come_by() -> None:
        heard.extend(stand_in)  # nothing, and no error

    thread = threading.Thread(target=come_by)
    thread.start()
    thread.join()
    assert heard == []
    with pytest.raises(IdAllocError) as caught:
        next(stand_in)
    assert caught.value is own
    assert list(stand_in) == []


def test_errors_leave_nothing_behind() -> None:
    """However many threads fail at one time, and however often."""

    def failing(_count: int, on_answer: OnAnswer) -> None:
        on_answer(out_of_ids())

    ids: IdSequence = new_sequence(failing, LIMITS, 0.001)

    def fail() -> None:
        for _ in range(100):
            with pytest.raises(IdAllocError):
                next(ids)

    threads = [threading.Thread(target=fail) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    modules = [type(thing).__module__ for thing in gc.get_objects()]
    assert modules.count(sequences.__name__) < 16


def lease_on_loop(worker: Worker) -> Callable[[int], "asyncio.Future[IdBatch]"]:
    """Let the tasks of the running loop ask the worker."""
    loop = asyncio.get_running_loop()

    def lease(count: int) -> "asyncio.Future[IdBatch]":
        promise: asyncio.Future[IdBatch] = loop.create_future()

        def on_answer(answer: IdBatch | IdAllocError) -> None:
            if isinstance(answer, IdAllocError):
                promise.set_exception(answer)
            else:
                promise.set_result(answer)

        worker.lease(count, on_answer)
        return promise

    return lease


def test_an_old_error_is_not_told_to_tasks() -> None:
    """The same on asyncio."""

    async def run() -> None:
        worker = Worker()
        ids = AsyncIdSequence(lease_on_loop(worker), LIMITS, PATIENCE)
        await anext(ids)
        await asyncio.sleep(0)
        left = ids.left
        worker.up = False
        for _ in range(15):
            await anext(ids)
        worker.fail()
        await asyncio.sleep(PAUSE)
        for _ in range(left - 15):
            await anext(ids)
        assert ids.left == 0
        asyncio.get_running_loop().call_later(SHORTLY, worker.answer)
        assert await anext(ids) == left + 2

    asyncio.run(run())


def test_a_closed_client_leaves_the_leased_ids_to_tasks() -> None:
    """They may be used up; then the error says that the client is closed, each time."""

    async def run() -> None:
        closed = False
        ask = lease_on_loop(Worker())

        def lease(count: int) -> "asyncio.Future[IdBatch]":
            if closed:
                raise ClientClosedError("the client is closed")
            return ask(count)

        ids = AsyncIdSequence(lease, LIMITS, PATIENCE)
        await anext(ids)
        await asyncio.sleep(0)
        closed = True
        assert [await anext(ids) for _ in range(ids.left)]
        for _ in range(5):
            with pytest.raises(ClientClosedError):
                await anext(ids)

    asyncio.run(run())


def test_a_sequence_without_a_broker_says_so() -> None:
    """What was missing is the connection, not a worker's answer: as for any other call."""
    with (
        IdClient("amqp://127.0.0.1:1/") as client,
        client.sequence("order", timeout=0.05) as ids,
        pytest.raises(ConnectionLostError),
    ):
        next(ids)

    async def run() -> None:
        async with AsyncIdClient("amqp://127.0.0.1:1/") as client:
            with pytest.raises(ConnectionLostError):
                await anext(client.sequence("order", timeout=0.05))

    asyncio.run(run())


def test_the_end_of_a_sequence_is_the_end_of_its_ids() -> None:
    """Of the range in use, of those ahead and of those that come later: all count as unused."""
    worker = Worker()
    ids = new_sequence(worker.lease, LIMITS, timeout=PATIENCE)
    assert next(ids) == 1
    worker.up = False
    taken = 1 + len(list(islice(ids, worker.last - 11)))  # the last range there is begins
    asked = list(worker.asked)
    ids.close()
    for on_answer in asked:
        on_answer(worker.ids())
    assert asked
    assert ids.left == 0
    assert ids.unused == worker.last - taken
    with pytest.raises(ClientClosedError):
        next(ids)


def test_a_sequence_is_one_of_its_kind() -> None:
    """A copy would hand out the same ids again."""
    ids = new_sequence(Worker().lease, LIMITS, timeout=PATIENCE)
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(ids)
