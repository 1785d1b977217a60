"""Runs one schedule: in each step one thing happens, which and how the choices say."""

import logging
import random
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import ALLOC_QUEUE, ALLOC_REQUEST_TYPE, encode_alloc_request
from idalloc_worker.counters._registry import Event
from idalloc_worker.tags import QUEUES, partition_of
from tests.simulation._broker import Message
from tests.simulation._choices import Choices, Step
from tests.simulation._clock import WAIT
from tests.simulation._flows import Flows
from tests.simulation._judge import FoundError
from tests.simulation._weather import Weather
from tests.simulation._worker import SimWorker, World


class _Kind(Enum):
    MESSAGE = auto()
    STATEMENT = auto()
    ASK = auto()
    TIMER = auto()
    FAULT = auto()


_OTHERS = (
    *[_Kind.MESSAGE] * 36,
    *[_Kind.STATEMENT] * 13,
    *[_Kind.TIMER] * 6,
    *[_Kind.FAULT] * 2,
)
_SLOWNESS = 15  # times as often something else goes first, if there is something else
_COUNTED = (
    *(Event.CLAIMS_CONTESTED, Event.REWINDS_REPAIRED, Event.GIVE_BACKS),
    *(Event.GENERATIONS, Event.FLEET_GAPS),
)
_SETTLING = 1500
"""Steps after which whoever still waits for an answer will not get one."""


@dataclass
class Outcome:
    """What came of a schedule."""

    found: str | None = None
    steps: list[Step] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


def run(
    weather: Weather,
    *,
    seed: int | None = None,
    replay: Sequence[Step] = (),
    trace: bool = False,
) -> Outcome:
    """Run a schedule from a seed, or from the choices of an earlier run."""
    choices = Choices(seed, replay)
    with without_chance():
        simulation = Simulation(choices, weather, trace=trace)
        found = None
        try:
            simulation.run()
        except FoundError as error:
            found = str(error)
            simulation.world.note(found)
        except Exception as error:  # a crash of the product is a finding too
            found = f"{type(error).__name__}: {error}"
            simulation.world.note(found)
            if trace:
                raise
    choices.end_step()
    return Outcome(found, choices.steps, simulation.counts(), simulation.world.log or [])


@contextmanager
def without_chance() -> Iterator[None]:
    """Let chance come out alike each time, and nothing be logged."""
    numbers = count(1)
    token_hex, randbits, state = secrets.token_hex, secrets.randbits, random.getstate()
    secrets.token_hex = lambda nbytes=None: f"k{nbytes and next(numbers)}"
    secrets.randbits = lambda k: (1 << k) // 3
    random.seed(0)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
        secrets.token_hex, secrets.randbits = token_hex, randbits
        random.setstate(state)


class Simulation:
    """A fleet, and what happens to it."""

    def __init__(self, choices: Choices, weather: Weather, *, trace: bool = False) -> None:
        self._choices = choices
        choices.begin_step()  # which lines are slow, and the warm-up
        self._weather = weather
        self._kinds = (*_OTHERS, *[_Kind.ASK] * weather.asks)
        self.world = world = World(choices, weather)
        self._note_loss()
        if trace:
            world.log = []
        self._tags = (*weather.tags, *(tag for tag in weather.ordered if tag not in weather.tags))
        self.workers = [SimWorker(world, number) for number in range(weather.workers)]
        self._left = {
            self._join: weather.joins,
            self._stop: weather.stops,
            self._crash: weather.crashes,
            self._black_out: weather.blackouts,
            self._cut: weather.cuts,
            self._freeze: weather.freezes,
            self._restart_broker: weather.broker_restarts,
            self._edit: weather.edits,
            self._fail_over: weather.failovers,
            self._lose_fleet_messages: weather.fleet_losses,
            self._drop_oldest: weather.drops,
            self._move_partition: weather.partition_moves,
            self._pass_over: weather.passes,
        }
        self._faults = [fault for fault, times in self._left.items() for _ in range(times)]

    def run(self) -> None:
        """Let things happen, then let them come to rest and look at the books."""
        self._warm_up()
        for _ in range(self._weather.steps):
            if not self._choices.begin_step():
                break
            self._step()
        self._settle()
        self._look_at_the_books()

    def counts(self) -> dict[str, int]:
        """Tell what was seen."""
        counts = self.world.judge.counts
        counts["requests"] = len(self.world.judge.asks)
        for worker in self.workers:
            for event in _COUNTED:
                counts[event.value] += worker.counters.events[event]
        return dict(counts)

    def _warm_up(self) -> None:
        """Let the fleet gather before anything goes wrong."""
        messages, clock = self.world.messages, self.world.clock
        while messages.active or clock.next <= WAIT:
            if messages.active:
                messages.active[0].run()
            else:
                clock.leap()

    # Steps

    def _step(self) -> None:
        kind = self._kinds[self._choices.below(len(self._kinds))]
        if kind is _Kind.ASK and self.world.judge.waiting < self._weather.in_flight:
            self._ask()
        elif kind is _Kind.STATEMENT and self.world.statements.active:
            self._advance(self.world.statements)
        elif kind is _Kind.TIMER and self._time_may_pass():
            self.world.clock.leap()
        elif kind is _Kind.FAULT:
            self._fault()
        elif self.world.messages.active:
            self._advance(self.world.messages)
        elif self.world.statements.active:
            self._advance(self.world.statements)
        elif self.world.judge.waiting < self._weather.in_flight and self._choices.below(2):
            self._ask()
        else:
            self.world.clock.leap()

    def _advance(self, flows: Flows) -> None:
        flow = flows.active[self._choices.below(len(flows.active))]
        if flow.slow and self._choices.below(_SLOWNESS):
            flow = flows.active[self._choices.below(len(flows.active))]
        flow.run()

    def _time_may_pass(self) -> bool:
        clock = self.world.clock
        due = clock.next <= clock.now or not self.world.messages.active
        return due or self._choices.chance(self._weather.slow)

    def _ask(self) -> None:
        tag = self._tags[self._choices.below(len(self._tags))]
        number = self.world.judge.asked(tag)
        properties = Properties(
            type=ALLOC_REQUEST_TYPE.encode(), reply_to=b"caller", correlation_id=b"%d" % number
        )
        body = encode_alloc_request(tag, 1 + self._choices.below(2))
        queue = self._queue_for(tag)
        self.world.broker.queues[queue].push(Message("", queue, body, properties))

    def _queue_for(self, tag: str) -> str:
        """Choose the way to any worker, or to an ordered tag's owner, if there is its queue."""
        queue = QUEUES[partition_of(tag)]
        to_owner = tag in self._weather.ordered and queue in self.world.broker.queues
        if not to_owner or self._choices.below(2):
            return ALLOC_QUEUE
        self.world.judge.counts["direct"] += 1
        return queue

    # Faults

    def _fault(self) -> None:
        late = self.world.database.late
        if late and self._choices.below(2):
            change = self.world.database.run_late()
            self.world.note(f"late: {change.statement} {change.app_tag} {dict(change.given)}")
            return
        frozen = [worker for worker in self.workers if worker.frozen]
        if frozen and self._choices.below(2):
            self._thaw(frozen[self._choices.below(len(frozen))])
            return
        if self._faults:
            fault = self._faults.pop(self._choices.below(len(self._faults)))
            if not fault():
                self._faults.append(fault)

    def _someone(self) -> SimWorker | None:
        """Choose a worker that may come to harm."""
        others = [
            worker
            for worker in self.workers[self._weather.spared :]
            if worker.alive and not worker.stopping and not worker.frozen
        ]
        return others[self._choices.below(len(others))] if others else None

    def _join(self) -> bool:
        self.world.note(f"w{len(self.workers)} starts")
        self.workers.append(SimWorker(self.world, len(self.workers)))
        return True

    def _stop(self) -> bool:
        worker = self._someone()
        if worker is not None:
            self.world.note(f"{worker.name} is told to stop")
            worker.stop()
        return worker is not None

    def _crash(self) -> bool:
        worker = self._someone()
        if worker is not None:
            self.world.note(f"{worker.name} is killed")
            worker.die()
        return worker is not None

    def _black_out(self) -> bool:
        self.world.note("all workers are killed")
        for worker in self.workers:
            if worker.alive:
                worker.die()
        self._edit()
        self._join()
        self._join()
        return True

    def _cut(self) -> bool:
        worker = self._someone()
        if worker is None or worker.connection is None:
            return False
        self.world.note(f"the broker gives up the connection of {worker.name}")
        self.world.broker.cut(worker.connection)
        return True

    def _freeze(self) -> bool:
        worker = self._someone()
        if worker is not None:
            self.world.note(f"{worker.name} is frozen")
            worker.freeze(frozen=True)
        return worker is not None

    def _thaw(self, worker: SimWorker) -> None:
        self.world.note(f"{worker.name} goes on")
        worker.freeze(frozen=False)

    def _restart_broker(self) -> bool:
        self.world.note("the broker restarts")
        lost = self.world.broker.restart()
        numbers = (message.properties.correlation_id for message in lost)
        self.world.judge.excuse(int(number) for number in numbers if number)
        return True

    def _edit(self) -> bool:
        self.world.note(self.world.database.edit())
        self._note_loss()
        return self.world.database.was_set_back

    def _fail_over(self) -> bool:
        self.world.note(self.world.database.fail_over())
        self._note_loss()
        return True

    def _note_loss(self) -> None:
        """Take repairs for right where a row was set back, or may seem to be."""
        self.world.judge.trusted = not (self.world.database.was_set_back or self._weather.slow)

    def _lose_fleet_messages(self) -> bool:
        self.world.note("the process of a fleet queue restarts")
        return self.world.broker.lose_fleet_messages()

    def _drop_oldest(self) -> bool:
        self.world.note("a fleet queue is full, and its oldest messages are dropped")
        return self.world.broker.drop_oldest()

    def _move_partition(self) -> bool:
        self.world.note("the process of a partition's queue restarts")
        return self.world.broker.move_partition()

    def _pass_over(self) -> bool:
        self.world.note("a partition goes to another consumer, and nobody is told")
        return self.world.broker.pass_over()

    # The end

    def _settle(self) -> None:
        """Let nothing more happen than what is under way, until everybody has an answer."""
        self._choices.begin_step()
        for worker in self.workers:
            if worker.frozen:
                worker.freeze(frozen=False)
        world = self.world
        for _ in range(_SETTLING):
            if world.messages.active:
                self._advance(world.messages)
            elif world.statements.active:
                self._advance(world.statements)
            elif not (world.judge.unanswered or self._refilling):
                return
            else:
                world.clock.leap()
        if unanswered := world.judge.unanswered:
            raise FoundError(f"unanswered: requests {unanswered[:5]}")

    @property
    def _refilling(self) -> bool:
        return any(
            worker.alive
            and (worker.stopping or worker.engine._refilling or worker.owner._refilling)
            for worker in self.workers
        )

    def _look_at_the_books(self) -> None:
        for worker in self.workers:
            if worker.alive:
                self._look_at_the_books_of(worker)

    def _look_at_the_books_of(self, worker: SimWorker) -> None:
        reserved, parts = dict.fromkeys(self._tags, 0), dict.fromkeys(self._tags, 0)
        for engine in (worker.engine, worker.owner):
            for pool in engine.by_tag.values():
                reserved[pool.app_tag] += pool.reserved
                parts[pool.app_tag] += (
                    pool.handed_out + pool.remaining + pool.lost + pool.given_back
                )
        for tag in self._tags:
            self.world.judge.count_books(worker.name, tag, reserved[tag], parts[tag])
