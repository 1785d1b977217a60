"""A tag that is ordered, ordinary and ordered again at any moment: the promise of `docs/order.md`.

The real engines and `OrderedTags` of some workers, a row that is switched, a broker that gives the
partition to one of them at a time, and a schedule by chance.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from idalloc_schemas import AllocRequest
from idalloc_worker._runtime import Runtime
from idalloc_worker.counters._counters import Counters
from idalloc_worker.engine._effects import REDIRECTED, Answer, Answered, Redirected, StartRefill
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from idalloc_worker.ordered._tags import OrderedTags
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from tests.runtimes import no_periods
from tests.vouched import logged_in

SOME = range(60)
MORE = range(60, 200)
ROUNDS = 10
SETTINGS = TagSettings(step=5)


@dataclass(eq=False)
class Request:
    """`floor` is the highest id that anybody had when it was sent, if the promise was in force."""

    floor: int
    request: AllocRequest = field(default_factory=lambda: AllocRequest(app_tag="order"))


class Worker:
    """One worker's engines, its looks at the table and its refills, which chance moves on."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.plain = Engine(EngineLimits(max_failures=1000), jitter=lambda: 0.0)
        self.owner = OrderedEngine(EngineLimits(max_failures=1000), jitter=lambda: 0.0)
        self.jobs: deque[Any] = deque()  # looks at the table that are to be begun
        self.found: deque[Callable[[], None]] = deque()  # and those that have ended
        self.refills: list[StartRefill] = []
        self.reserved: list[Callable[[], None]] = []  # committed, and told to nobody yet
        self.inbox: deque[int] = deque()
        self.looked = -1.0  # when the last look began that it knows the outcome of
        loop: Any = SimpleNamespace(call_soon=_run, call_later=self._later)
        everything: Any = SimpleNamespace(
            answer=world.answer, on_replied=None, run=self.jobs.append, add=world.queue.append
        )
        around = Runtime(loop, _run, everything, Counters(), lambda: world.now)
        self.tags = OrderedTags(
            *(self.owner, self.plain, "worker", around, everything, self.run_effects),
            logged_in(),
            no_periods(),
        )
        self.tags._forwarder = everything

    def _later(self, delay: float, callback: Callable[[], None]) -> Any:
        if delay:
            self.again = callback  # the next look at the table
        else:
            callback()

    def ask(self, request: Request) -> None:
        if "order" in self.tags.known:
            self.tags.forward(request)  # type: ignore[arg-type]
        else:
            self.take(self.plain, request)

    def take(self, engine: Engine, request: Request) -> None:
        answer = engine.take("order", 1, self.world.now, token=request)
        if answer is not None:
            self.world.answer(request, answer, self)
        self.run_effects()

    def run_effects(self) -> None:
        for engine in (self.plain, self.owner):
            for effect in engine.effects():
                if isinstance(effect, StartRefill):
                    self.refills.append(effect)
                elif isinstance(effect, Answered):
                    request: Any = effect.waiter
                    self.world.answer(request, effect.answer, self)

    def tick(self) -> None:
        for engine in (self.plain, self.owner):
            engine.tick(self.world.now)
        self.run_effects()

    # What a refill thread and the fleet do

    def read_rows(self) -> None:
        """Begin a look, and end it; what it found is told later."""
        if not self.jobs:
            return
        job, began, world = self.jobs.popleft(), self.world.now, self.world
        store = SimpleNamespace(
            ordered_tags=lambda: {"order": world.max_id} if world.ordered else {}
        )
        found = job.work(store)

        def tell() -> None:
            job.report(found)
            self.looked = began

        self.found.append(tell)

    def tell_found(self) -> None:
        if self.found:
            self.found.popleft()()
            self.again()

    def reserve(self) -> None:
        """Commit a refill; an ordinary one does nothing to a row that is ordered."""
        if not self.refills:
            return
        refill = self.refills.pop(self.world.chance.randrange(len(self.refills)))
        engine = self.owner if refill.ordered else self.plain
        if self.world.ordered and not refill.ordered:
            engine.refill_refused(refill.attempt, REDIRECTED, self.world.now)
            self.run_effects()
            return
        left = self.world.max_id
        right = self.world.max_id = left + max(refill.want, SETTINGS.step)

        def claim() -> None:
            self.world.tell(self, right)
            self.read_inbox()
            if not refill.ordered:
                self.tags.reserved_elsewhere("order", right)
            engine.segment_arrived(refill.attempt, Segment(left, right), SETTINGS, self.world.now)
            self.run_effects()

        self.reserved.append(claim)

    def claim(self) -> None:
        if self.reserved:
            self.reserved.pop(self.world.chance.randrange(len(self.reserved)))()

    def read_inbox(self) -> None:
        while self.inbox:
            self.tags.reserved_elsewhere("order", self.inbox.popleft())


class World:
    """What the workers share, and the judge of what callers receive."""

    def __init__(self, seed: int, *, fleet: bool) -> None:
        self.chance = random.Random(seed)
        self.fleet = fleet  # whether workers hear each other
        self.now = 0.0
        self.max_id, self.ordered, self.switched = 1, True, 0.0
        self.highest = 0  # id that somebody has received
        self.queue: deque[Request] = deque()
        self.taken: list[Request] = []
        self.leaving: Worker | None = None
        self.answered_in_order = 0
        self.workers = [Worker(self) for _ in range(3)]
        self.active = self.workers[0]

    @property
    def promised(self) -> bool:
        """Whether every worker has looked since the tag became ordered."""
        return self.ordered and all(worker.looked > self.switched for worker in self.workers)

    def tell(self, teller: Worker, end: int) -> None:
        for worker in self.workers if self.fleet else ():
            if worker is not teller:
                worker.inbox.append(end)

    def answer(self, request: Request, answer: Answer, worker: Worker | None = None) -> None:
        if request in self.taken:
            self.taken.remove(request)
        if isinstance(answer, tuple):
            ((left, right),) = answer
            assert left >= request.floor, f"{left} follows {request.floor - 1}"
            self.answered_in_order += request.floor > 0
            self.highest = max(self.highest, right)
        elif isinstance(answer, Redirected) and worker is not None:
            worker.tags.redirect(request)  # type: ignore[arg-type]
        # else it was refused: its caller asks again, as far as this test is concerned

    # What may happen

    def ask(self) -> None:
        request = Request(self.highest if self.promised else 0)
        self.chance.choice(self.workers).ask(request)

    def deliver(self) -> None:
        if self.queue:
            request = self.queue.popleft()
            self.taken.append(request)
            self.active.take(self.active.owner, request)

    def switch(self) -> None:
        self.ordered, self.switched = not self.ordered, self.now
        self.now += 0.01

    def take_away(self) -> None:
        """Close the owner's channel: what it has not answered is delivered again."""
        self.active.tags._on_end()
        self.queue.extendleft(reversed(self.taken))
        self.taken.clear()
        self.active = self.chance.choice([w for w in self.workers if w is not self.leaving])

    def stop(self) -> None:
        """Have the owner give up its partition; it has time to answer what it has taken."""
        if self.leaving is None:
            self.leaving = self.active
            self.active.owner.retire()
            self.active = self.chance.choice([w for w in self.workers if w is not self.leaving])

    def end_stop(self) -> None:
        worker, self.leaving = self.leaving, None
        if worker is not None:
            worker.owner.close(self.now)
            worker.plain.close(self.now)
            worker.run_effects()
            self.workers[self.workers.index(worker)] = Worker(self)

    # Schedules

    def round(self) -> None:
        """Let all look, so that the promise is in force; then switch there and back."""
        for worker in self.chance.sample(self.workers, len(self.workers)):
            self.look(worker)
        self.go_on(40)
        self.switch()
        for worker in self.chance.sample(self.workers, self.chance.randrange(3)):
            self.look(worker)
        self.go_on(100)
        self.switch()

    def look(self, worker: Worker) -> None:
        worker.tell_found()
        worker.read_rows()
        self.go_on(5)
        worker.tell_found()

    def go_on(self, steps: int) -> None:
        """Let anything happen, some of it often."""
        for _ in range(self.chance.randrange(steps)):
            self.now += 0.01
            worker = self.chance.choice(self.workers)
            chances: dict[Callable[[], None], int] = {
                **dict.fromkeys([self.ask, self.deliver, worker.reserve, worker.claim], 25),
                **dict.fromkeys([worker.read_inbox, worker.tick], 5),
                **dict.fromkeys([worker.read_rows, worker.tell_found], 2),
                **dict.fromkeys([self.take_away, self.stop, self.end_stop], 1),
            }
            (happens,) = self.chance.choices(list(chances), list(chances.values()))
            happens()


def _run(callback: Callable[[], None]) -> None:
    callback()


@pytest.mark.parametrize("seeds", [SOME, pytest.param(MORE, marks=pytest.mark.long)])
@pytest.mark.parametrize("fleet", [True, False], ids=["told", "untold"])
def test_no_id_is_lower_than_one_received_before_its_request(*, fleet: bool, seeds: range) -> None:
    """From when every worker has looked since the last switch, also if they cannot tell each other.

    Nobody need have seen the tag as an ordinary one for that.
    """
    in_order = 0
    for seed in seeds:
        world = World(seed, fleet=fleet)
        try:
            for _ in range(ROUNDS):
                world.round()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        in_order += world.answered_in_order
    assert in_order > 10 * len(seeds), "the schedules leave the promise out of force"
