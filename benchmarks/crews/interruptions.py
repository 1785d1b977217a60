"""Calls that end too early, at random instants, beside calls that must not notice.

`TaskMix` does it to AsyncIdClient, `ThreadMix` to IdClient. Both return what came of every call.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.harness.site import TAG
from idalloc_client import AsyncIdClient, CallTimeoutError, IdAllocError, IdClient

PATIENT = 48
"""Tasks whose calls must all succeed."""
IMPATIENT = 48
"""Tasks whose calls are interrupted."""
PATIENT_THREADS = 8
IMPATIENT_THREADS = 16

_PLENTY = 60.0  # seconds that a patient call has
_SHORT = 0.004  # seconds: an interruption comes within them
_REST = 0.003  # seconds between two calls of a task or thread, at most


@dataclass
class Outcome:
    """What came of all calls."""

    ids: list[int] = field(default_factory=list)
    """Everything that any call returned."""
    interrupted: Counter[str] = field(default_factory=Counter)
    """Calls that ended too early, by kind."""
    patient: int = 0
    """Calls that were left alone and got their id."""
    errors: list[str] = field(default_factory=list)
    """Of calls that were left alone, or of a kind that an interruption does not explain."""

    @property
    def cut_short(self) -> int:
        """How many calls ended too early."""
        return self.interrupted.total()

    def add_ids_of(self, other: "Outcome") -> None:
        """Take over the ids and the errors of calls that were made before."""
        self.ids += other.ids
        self.errors += other.errors


def hasty(chance: random.Random) -> float:
    """Return seconds that are not enough, or just enough; each magnitude is as likely."""
    return _SHORT * 2 ** chance.uniform(-12, 0)


def magnitudes() -> list[float]:
    """Return seconds of every magnitude that a call of these mixes may have left."""
    return [0.75 * 2.0**exponent for exponent in range(-24, 7)] * 4


class TaskMix:
    """Patient and impatient tasks on one client."""

    def __init__(self, client: AsyncIdClient, calls: int, seed: int) -> None:
        self._client = client
        self._calls = calls
        self._chance = random.Random(seed)
        self._ids = client.sequence(TAG, floor=3, cap=20, timeout=_PLENTY)
        self._hasty_ids = client.sequence(TAG, floor=1, cap=1, timeout=_SHORT / 8)
        self._until = 0.0
        self.outcome = Outcome()

    async def run(self, until: float) -> Outcome:
        """Go on until enough calls have ended too early; `until` is in monotonic seconds."""
        self._until = until
        with self._ids, self._hasty_ids:
            async with asyncio.TaskGroup() as group:
                for number in range(PATIENT):
                    group.create_task(self._be_patient(number))
                for _ in range(IMPATIENT):
                    group.create_task(self._be_impatient())
        return self.outcome

    @property
    def _enough(self) -> bool:
        return self.outcome.cut_short >= self._calls or time.monotonic() > self._until

    async def _be_patient(self, number: int) -> None:
        while not self._enough:
            try:
                self.outcome.ids += await self._patient_call(number)
                self.outcome.patient += 1
            except IdAllocError as error:
                self.outcome.errors.append(f"a call that was left alone: {error!r}")
            await asyncio.sleep(self._chance.uniform(0, _REST))

    async def _patient_call(self, number: int) -> list[int]:
        if number % 4 == 0:
            return [await anext(self._ids)]
        if number % 4 == 1:
            return list(await self._client.next_ids(TAG, 3, timeout=_PLENTY))
        return [await self._client.next_id(TAG, timeout=_PLENTY)]

    async def _be_impatient(self) -> None:
        ways: list[tuple[Callable[[], Awaitable[None]], type[BaseException]]] = [
            (self._cancel, asyncio.CancelledError),
            (self._cancel_at_a_turn, asyncio.CancelledError),
            (self._time_out, TimeoutError),
            (self._ask_in_haste, CallTimeoutError),
        ]
        while not self._enough:
            way, expected = self._chance.choice(ways)
            try:
                await way()
            except (asyncio.CancelledError, TimeoutError, IdAllocError) as error:
                name = way.__name__.strip("_").replace("_", " ")
                if type(error) is expected:
                    self.outcome.interrupted[name] += 1
                else:
                    self.outcome.errors.append(f"{name}: {error!r}")
            await asyncio.sleep(self._chance.uniform(0, _REST))

    async def _call(self, timeout: float = _PLENTY) -> None:  # noqa: ASYNC109  # it is what is tried
        match self._chance.randrange(5):
            case 0:
                self.outcome.ids += await self._client.next_ids(TAG, 2, timeout=timeout)
            case 1:
                await self._client.health(TAG, timeout=timeout)
            case 2:
                self.outcome.ids.append(await anext(self._ids))
            case _:
                self.outcome.ids.append(await self._client.next_id(TAG, timeout=timeout))

    async def _cancel(self) -> None:
        task = asyncio.create_task(self._call())
        await asyncio.sleep(self._chance.uniform(0, _SHORT))
        task.cancel()
        await task

    async def _cancel_at_a_turn(self) -> None:
        """Cancel before the first turn, or after so many turns of the loop."""
        task = asyncio.create_task(self._call())
        for _ in range(self._chance.randrange(6)):
            await asyncio.sleep(0)
        task.cancel()
        await task

    async def _time_out(self) -> None:
        async with asyncio.timeout(self._chance.uniform(0, _SHORT)):
            await self._call()

    async def _ask_in_haste(self) -> None:
        if self._chance.random() < 0.2:
            self.outcome.ids.append(await anext(self._hasty_ids))
        else:
            await self._call(hasty(self._chance))


async def call_with_all_magnitudes(client: AsyncIdClient) -> None:
    """Have the client make what it keeps for each magnitude of time."""
    for timeout in magnitudes():
        with contextlib.suppress(CallTimeoutError):
            await client.next_id(TAG, timeout=timeout)


async def leave_while_connecting(url: str, clients: int, seed: int) -> None:
    """Cancel the first calls of new clients, and the closing of half of them."""
    chance = random.Random(seed)
    for number in range(clients):
        client = AsyncIdClient(url)
        call = asyncio.create_task(client.next_id(TAG))
        await asyncio.sleep(chance.uniform(0, 2 * _SHORT))
        call.cancel()
        await asyncio.wait([call])
        closing = asyncio.create_task(client.close())
        if number % 2:
            await asyncio.sleep(0)
            closing.cancel()
        await asyncio.wait([closing])
        await client.close()


def call_with_all_magnitudes_in_thread(client: IdClient) -> None:
    """Do the same with the client of threads."""
    for timeout in magnitudes():
        with contextlib.suppress(CallTimeoutError):
            client.next_id(TAG, timeout=timeout)


class ThreadMix:
    """Patient and impatient threads on one client."""

    def __init__(self, client: IdClient, calls: int, seed: int) -> None:
        self._client = client
        self._calls = calls
        self._seed = seed
        self._ids = client.sequence(TAG, floor=3, cap=20, timeout=_PLENTY)
        self._hasty_ids = client.sequence(TAG, floor=1, cap=1, timeout=_SHORT / 8)
        self._lock = threading.Lock()  # guards the outcome's counts
        self._until = 0.0
        self.outcome = Outcome()

    def run(self, until: float) -> Outcome:
        """Go on until enough calls have ended too early; `until` is in monotonic seconds."""
        self._until = until
        bodies = [self._be_patient] * PATIENT_THREADS + [self._be_impatient] * IMPATIENT_THREADS
        threads = [threading.Thread(target=body, args=(n,)) for n, body in enumerate(bodies)]
        with self._ids, self._hasty_ids:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return self.outcome

    @property
    def _enough(self) -> bool:
        return self.outcome.cut_short >= self._calls or time.monotonic() > self._until

    def _be_patient(self, number: int) -> None:
        chance = random.Random(self._seed + number)
        while not self._enough:
            try:
                value = next(self._ids) if number % 4 == 0 else self._next_id(_PLENTY)
            except IdAllocError as error:
                self._note(f"a call that was left alone: {error!r}")
            else:
                with self._lock:
                    self.outcome.ids.append(value)
                    self.outcome.patient += 1
            time.sleep(chance.uniform(0, _REST))

    def _be_impatient(self, number: int) -> None:
        chance = random.Random(self._seed + number)
        while not self._enough:
            in_haste = hasty(chance)
            kind = chance.choice(["next_id", "next_id", "next_ids", "health", "sequence"])
            try:
                drawn = self._call(kind, in_haste)
            except CallTimeoutError:
                with self._lock:
                    self.outcome.interrupted[kind] += 1
            except IdAllocError as error:
                self._note(f"{kind}: {error!r}")
            else:
                with self._lock:
                    self.outcome.ids += drawn
            time.sleep(chance.uniform(0, _REST))

    def _call(self, kind: str, timeout: float) -> list[int]:
        match kind:
            case "health":
                self._client.health(TAG, timeout=timeout)
                return []
            case "next_ids":
                return list(self._client.next_ids(TAG, 2, timeout=timeout))
            case "sequence":
                return [next(self._hasty_ids)]
            case _:
                return [self._next_id(timeout)]

    def _next_id(self, timeout: float) -> int:
        return self._client.next_id(TAG, timeout=timeout)

    def _note(self, text: str) -> None:
        with self._lock:
            self.outcome.errors.append(text)
