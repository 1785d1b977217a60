"""Runs the same tasks, each of which awaits one id at a time, on whatever gives them."""

import asyncio
import time
from collections.abc import Awaitable, Callable

Ask = Callable[[], Awaitable[object]]

TASKS = 256
_LIMIT = 30.0  # seconds for a whole turn beyond its length


class _Switch:
    """Tells the tasks when to stop."""

    def __init__(self) -> None:
        self.on = True

    def off(self) -> None:
        self.on = False


async def rate(ask: Ask, seconds: float, tasks: int = TASKS) -> float:
    """Let tasks ask for some seconds; return ids per second."""
    switch = _Switch()
    asyncio.get_running_loop().call_later(seconds, switch.off)
    started = time.perf_counter()
    async with asyncio.timeout(seconds + _LIMIT):
        done = await asyncio.gather(*(_caller(ask, switch) for _ in range(tasks)))
    return sum(done) / (time.perf_counter() - started)


async def _caller(ask: Ask, switch: _Switch) -> int:
    done = 0
    while switch.on:
        await ask()
        done += 1
    return done


class Floor:
    """What asyncio itself costs: futures that one callback resolves together, and no broker."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[int]] = []
        self._last = 0

    def next_id(self) -> "asyncio.Future[int]":
        """Return a future that the next turn of the loop resolves."""
        loop = asyncio.get_running_loop()
        promise: asyncio.Future[int] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._resolve)
        self._waiting.append(promise)
        return promise

    def _resolve(self) -> None:
        waiting, self._waiting = self._waiting, []
        for number, promise in enumerate(waiting, self._last + 1):
            promise.set_result(number)
        self._last += len(waiting)
