"""A promise to a task: awaited like a future, by tasks of every kind, and woken with others."""

import asyncio
import contextlib
import gc
import sys
import weakref
from asyncio import tasks
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import ContextVar
from types import coroutine
from typing import Any

import pytest

from idalloc_client._batching import TaskPromise, TaskWaker

Factory = Callable[..., "asyncio.Future[Any]"]


def python_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **given: Any
) -> "asyncio.Future[Any]":
    """Make a task of the implementation that is not in C, as tools do that look into tasks."""
    made: asyncio.Future[Any] = tasks._PyTask(coroutine, loop=loop, **given)  # type: ignore[attr-defined]
    return made


FACTORIES: list[Factory | None] = [None, python_task]
if sys.version_info >= (3, 12):
    FACTORIES.append(asyncio.eager_task_factory)


class Bounded:
    """A loop that runs nothing for ever: a task that is never woken fails its test."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = self.loop.create_task(coroutine)
        self.loop.run_until_complete(asyncio.wait([task], timeout=20))
        return task.result()


@pytest.fixture(params=FACTORIES, ids=["c", "python", "eager"][: len(FACTORIES)])
def loop(request: pytest.FixtureRequest) -> Iterator[Bounded]:
    """Give a loop whose tasks are of one kind."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(request.param)
    yield Bounded(loop)
    loop.close()


@coroutine
def outcome_of(promise: TaskPromise) -> Generator[TaskPromise, None, Any]:
    yield promise
    return promise.outcome


async def waiting(promise: TaskPromise) -> Any:
    return await outcome_of(promise)


async def begun(*promises: TaskPromise) -> "list[asyncio.Task[Any]]":
    """Have tasks wait for them."""
    started = [asyncio.create_task(waiting(promise)) for promise in promises]
    await asyncio.sleep(0)
    return started


def test_each_gets_its_own_outcome(loop: Bounded) -> None:
    """Results come in one turn, in order; an error is raised; an outcome may be there before."""

    async def check() -> None:
        waker = TaskWaker(asyncio.get_running_loop())
        first, second, third, early = (waker.promise() for _ in range(4))
        early.set_result(4)
        gathered = asyncio.gather(*map(waiting, (second, first, early)))
        [failing] = await begun(third)
        first.set_result(1)
        third.set_exception(ValueError("no"))
        second.set_result(2)
        assert await gathered == [2, 1, 4]
        with pytest.raises(ValueError, match="no"):
            await failing
        late = waker.promise()
        late.set_exception(KeyError("late"))
        with pytest.raises(KeyError, match="late"):
            await waiting(late)

    loop.run(check())


def test_the_first_outcome_stands(loop: Bounded) -> None:
    """Who comes later is told that it is too late."""

    async def check() -> None:
        waker = TaskWaker(asyncio.get_running_loop())
        promise = waker.promise()
        assert not promise.done()
        promise.set_result(1)
        assert promise.done()
        assert not promise.cancel()
        for late in (promise.set_result, promise.set_exception):
            with pytest.raises(asyncio.InvalidStateError):
                late(ValueError())
        assert await waiting(promise) == 1

    loop.run(check())


def test_a_task_can_be_cancelled(loop: Bounded) -> None:
    """It ends at once, with its message: before an outcome, and with one on its way."""

    async def check() -> None:
        waker = TaskWaker(asyncio.get_running_loop())
        promises = [waker.promise() for _ in range(3)]
        before, on_its_way, other = await begun(*promises)
        before.cancel("enough")
        promises[1].set_result(1)
        on_its_way.cancel()
        promises[2].set_result(3)
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await before
        with pytest.raises(asyncio.CancelledError):
            await on_its_way
        assert await other == 3
        assert promises[0].done()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await waiting(waker.promise())

    loop.run(check())


def test_a_step_that_raises_keeps_nobody_asleep(loop: Bounded) -> None:
    """Ctrl-C in a task ends the loop's run; the tasks behind it go on with the next."""

    async def interrupted(promise: TaskPromise) -> None:
        await waiting(promise)
        raise KeyboardInterrupt

    waker = TaskWaker(loop.loop)
    promises = [waker.promise() for _ in range(3)]
    kept: list[asyncio.Task[Any]] = []

    async def check() -> None:
        kept.extend(await begun(promises[0]))
        kept.append(asyncio.create_task(interrupted(promises[1])))
        kept.extend(await begun(promises[2]))
        waker.wake(promises)  # those that have nothing yet must not be in it: all are settled below
        for number, promise in enumerate(promises):
            promise.outcome = number
        await asyncio.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        loop.run(check())

    async def rest() -> list[Any]:
        return [await kept[0], await kept[2]]

    assert loop.run(rest()) == [0, 2]
    assert isinstance(kept[1].exception(), KeyboardInterrupt)


def test_a_task_of_another_loop_is_told(loop: Bounded) -> None:
    """Asyncio says so, as of a future."""
    elsewhere = asyncio.new_event_loop()
    try:
        promise = TaskWaker(elsewhere).promise()
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            loop.run(waiting(promise))
    finally:
        elsewhere.close()


def test_a_task_goes_on_in_its_context(loop: Bounded) -> None:
    """What it had set is there, whoever woke it."""
    variable = ContextVar("variable", default=0)

    async def reading(number: int, promise: TaskPromise) -> int:
        variable.set(number)
        await waiting(promise)
        return variable.get()

    async def check() -> None:
        waker = TaskWaker(asyncio.get_running_loop())
        promises = [waker.promise() for _ in range(3)]
        read = asyncio.gather(*(reading(n, each) for n, each in enumerate(promises, 1)))
        await asyncio.sleep(0)
        for promise in promises:
            promise.set_result(None)
        assert await read == [1, 2, 3]

    loop.run(check())


def test_an_error_leaves_no_cycle(loop: Bounded) -> None:
    """What a caller that failed held goes with it, without the garbage collector."""

    class Held:
        """Something of a caller's."""

    async def failing(promise: TaskPromise) -> "weakref.ref[Held]":
        held = Held()
        with contextlib.suppress(ValueError):
            await waiting(promise)
        return weakref.ref(held)

    async def check(waker: TaskWaker) -> "list[weakref.ref[Any]]":
        promises = [waker.promise() for _ in range(2)]
        caught = asyncio.create_task(failing(promises[0]))
        [uncaught] = await begun(promises[1])
        for promise in promises:
            promise.set_exception(ValueError("no"))
        await asyncio.wait([uncaught])
        assert uncaught.exception() is not None
        left: list[weakref.ref[Any]] = [weakref.ref(uncaught), await caught]
        return left if isinstance(uncaught, asyncio.Task) else left[:1]  # Python's own has a cycle

    gc.disable()
    try:
        assert not any(left() for left in loop.run(check(TaskWaker(loop.loop))))
    finally:
        gc.enable()
