"""One worker process: all of `WorkerService`, real, on a simulated link and simulated threads."""

from collections.abc import Callable
from itertools import count
from typing import Any

from pika.channel import Channel

from idalloc_worker.counters._counters import Counters
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.marks._vouching import Vouching
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from idalloc_worker.ordered._tags import OrderedTags
from idalloc_worker.service._clocks import ClockWatch
from idalloc_worker.service._service import WorkerService
from tests.simulation._broker import Broker
from tests.simulation._channel import SimConnection
from tests.simulation._choices import Choices
from tests.simulation._clock import Clock, Timer
from tests.simulation._database import Database
from tests.simulation._flows import Callback, Flow, Flows
from tests.simulation._judge import Judge
from tests.simulation._message_channel import SimMessageChannel
from tests.simulation._refill_threads import SimRefillThreads
from tests.simulation._weather import Weather

_RECONNECT_AFTER = 0.2
_PATIENCE = 5.0
_AFTER_THAW = 0.001  # what had piled up in the socket is read before timers run
_PREFETCH = 100


class World:
    """What the workers of one simulation share."""

    def __init__(self, choices: Choices, weather: Weather) -> None:
        self.choices = choices
        self.weather = weather
        self.clock = Clock()
        self.messages = Flows(choices)
        self.statements = Flows(choices)
        self.judge = Judge(frozenset(weather.ordered))
        self.database = Database(choices, weather.tags, weather.ordered)
        self.broker = Broker(self.messages, choices, self._on_reply)
        self.broker.nack_percent = weather.nacks
        self.broker.has_streams = bool(weather.streams)
        self.broker.quorum = bool(weather.quorum)
        self.log: list[str] | None = None

    def note(self, what: str) -> None:
        """Write down what happens, where somebody will read it."""
        if self.log is not None:
            self.log.append(f"{self.clock.now:8.3f} {what}")

    def _on_reply(self, correlation_id: bytes, body: bytes) -> None:
        if correlation_id:
            self.judge.received(int(correlation_id), body)


class NoOrderedTags(OrderedTags):
    """Where no tag is ordered, partitions would only take up steps."""

    def _survey(self) -> None:
        """Look at nothing."""

    def on_ready(self, channel: Channel, *, own: bool = True) -> None:
        """Consume nothing."""

    def own(self) -> None:
        """Own nothing."""

    def on_lost(self) -> None:
        """Lose nothing."""

    def drain(self, on_drained: Callback) -> None:
        """Wait for nothing."""
        on_drained()

    def flush(self) -> None:
        """Acknowledge nothing."""


class SimService(WorkerService):
    """Without the beat that watches for stalls: it would be most of what happens."""

    def _beat(self) -> None:
        """Time stands still here while messages are on their way."""


class SimWorker:
    """A process, and in one the link, its loop and its thread, as the service sees them."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"w{number}"
        self.number = number
        self.alive = True
        self.stopping = False
        self.frozen = False
        self.connection: SimConnection | None = None
        self.link = self
        self.trace: Callable[[str], None] | None = None
        if world.log is not None:
            self.trace = lambda what: world.note(f"{self.name} {what}")
        self._soon: list[Callback] = []
        self._flows: list[Flow] = []
        self._delayed: list[Callback] = []
        self._posts = self.flow()
        self._build()
        self._connect()

    def _build(self) -> None:
        world = self.world
        weather = world.weather
        attempts = count(1)
        limits = EngineLimits(max_count=100)
        self.engine = Engine(limits, attempts=attempts, jitter=lambda: 0.5)
        self.owner = OrderedEngine(limits, attempts=attempts, jitter=lambda: 0.5)
        self.counters = Counters()
        clock = world.clock.read
        thread: Any = self
        self.refill_threads = SimRefillThreads(
            self.name,
            world.database,
            world.choices,
            weather,
            world.judge,
            world.statements,
        )
        refill_threads: Any = self.refill_threads
        self.service = SimService(
            *(self.engine, self.owner, lambda _handler: thread, refill_threads),
            name=self.name,
            prefetch=_PREFETCH,
            counters=self.counters,
            vouching=Vouching(wall_clock=clock),
            clock=clock,
            clocks=ClockWatch(clock, clock),
            new_ordered_tags=OrderedTags if weather.ordered else NoOrderedTags,
        )

    # The link and its thread

    def flow(self) -> Flow:
        """Make a line of things that happen on this worker's thread."""
        flow = WorkerFlow(self)
        self._flows.append(flow)
        return flow

    def run(self, callback: Callback) -> None:
        """Run something on its thread, and what that leaves for the end of the turn."""
        if self.frozen:
            self._delayed.append(callback)
            return
        callback()
        self.end_turn()

    def end_turn(self) -> None:
        """Run what was to wait for the end of the turn."""
        while self._soon:
            callbacks, self._soon = self._soon, []
            for callback in callbacks:
                callback()

    def post(self, callback: Callback) -> None:
        """Run something on the thread, from another one."""
        self._posts.push(callback)

    def call_soon(self, callback: Callback) -> None:
        """Run something at the end of this turn."""
        self._soon.append(callback)

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Run something after so many seconds."""
        return self.world.clock.call_later(self, delay, callback)

    def message_channel(self, channel: Any) -> SimMessageChannel:
        """Use a further channel."""
        return SimMessageChannel(channel, self._on_reply)

    def beside(self, *_: object, **__: object) -> Any:
        """Make a link of its own: nothing ends a connection here that would take one."""
        raise NotImplementedError

    def reset_channel(self, reason: BaseException) -> None:
        """Begin anew, here with the whole connection."""
        del reason
        if self.connection is not None:
            self.world.broker.cut(self.connection)

    def _on_reply(self, correlation_id: bytes, body: bytes) -> None:
        if self.trace is not None:
            self.trace(f"answers {correlation_id.decode()} with {body.decode()}")
        self.world.judge.answers(self.name, int(correlation_id), body)

    # Its life

    def _connect(self) -> None:
        if not self.alive or self.connection is not None:
            return
        if self.trace is not None:
            self.trace("connects")
        connection = self.connection = SimConnection(self, self.world.broker)
        channel = self.message_channel(connection.new_channel())
        self.run(lambda: self.service.on_ready(channel))

    def on_lost(self, connection: SimConnection, reason: BaseException) -> None:
        """Notice that the connection is gone."""
        if connection is not self.connection or not self.alive:
            return
        if self.trace is not None:
            self.trace("notices that its connection is lost")
        self.connection = None
        self.service.on_lost(reason)
        if self._left:
            self.die()
        else:
            self.call_later(_RECONNECT_AFTER, self._connect)

    _left = False

    def stop(self) -> None:
        """Be told to stop."""
        self.stopping = True
        self.run(lambda: self.service.drain(self._on_drained, _PATIENCE))

    def _on_drained(self) -> None:
        self._left = True
        self.refill_threads.die()
        if self.connection is None:
            self.die()
        else:
            self.connection.finish()

    def die(self) -> None:
        """End at once."""
        if not self.alive:
            return
        self.alive = False
        self.refill_threads.die()
        if self.connection is not None:
            self.world.broker.cut(self.connection)
        for flow in self._flows:
            flow.clear()
            flow.hold(held=True)

    def freeze(self, *, frozen: bool) -> None:
        """Stand still, or go on."""
        self.frozen = frozen
        self.refill_threads.hold(held=frozen)
        for flow in self._flows:
            flow.hold(held=frozen)
        if not frozen:
            delayed, self._delayed = self._delayed, []
            for callback in delayed:
                self.call_later(_AFTER_THAW, callback)


class WorkerFlow(Flow):
    """Things that happen on the thread of a worker."""

    __slots__ = ("_worker",)

    def __init__(self, worker: SimWorker) -> None:
        super().__init__(worker.world.messages)
        self._worker = worker

    def run(self) -> None:
        """Let the next thing happen, with the end of its turn."""
        super().run()
        if self._worker.alive:
            self._worker.end_turn()
