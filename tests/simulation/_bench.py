"""Workers in a simulated world whose steps a test takes itself, for what chance seldom finds."""

from collections.abc import Callable

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import ALLOC_QUEUE, FLEET_EXCHANGE, encode_alloc_request
from idalloc_worker.fleet._fleet import Fleet
from tests.simulation._broker import Message, Queue
from tests.simulation._channel import SimChannel
from tests.simulation._choices import Choices
from tests.simulation._clock import WAIT
from tests.simulation._weather import Weather
from tests.simulation._worker import SimWorker, World

TAG = "a"
NOTHING_FAILS = Weather(statements_fail=0, answers_lost=0)


class Bench:
    """Everything happens in the order in which it was begun, and nothing goes wrong by itself."""

    def __init__(self, weather: Weather = NOTHING_FAILS) -> None:
        self.world = World(Choices(None), weather)
        self.workers: list[SimWorker] = []

    def start(self) -> SimWorker:
        """Start a worker and let it join."""
        worker = SimWorker(self.world, len(self.workers))
        self.workers.append(worker)
        return worker

    def joined(self, number: int) -> list[SimWorker]:
        """Start workers and let all of them serve."""
        workers = [self.start() for _ in range(number)]
        self.wait(WAIT)
        return workers

    # What happens

    def settle(self, *, statements: bool = True) -> None:
        """Let all happen that is under way, without any time passing."""
        world = self.world
        while world.messages.active or (statements and world.statements.active):
            flows = world.messages if world.messages.active else world.statements
            flows.active[0].run()

    def settle_until(self, there: Callable[[], object]) -> None:
        """Let happen what is under way until something is there; it must come to be."""
        world = self.world
        while not there():
            flows = world.messages if world.messages.active else world.statements
            flows.active[0].run()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until = self.world.clock.now + seconds
        self.settle()
        while self.world.clock.next <= until:
            self.world.clock.leap()
            self.settle()
        self.world.clock.now = until

    def ask(self, app_tag: str = TAG, count: int = 1) -> int:
        """Send a request."""
        number = self.world.judge.asked(app_tag)
        properties = Properties(reply_to=b"caller", correlation_id=b"%d" % number)
        body = encode_alloc_request(app_tag, count)
        self.world.broker.queues[ALLOC_QUEUE].push(Message("", ALLOC_QUEUE, body, properties))
        return number

    def tell(self, queue: Queue, body: bytes) -> None:
        """Write into a fleet queue as somebody who knows its name."""
        queue.push(Message("", queue.name, body, Properties()))

    # What is there

    def answered(self, number: int) -> bool:
        """Whether a request has its ids."""
        ask = self.world.judge.asks[number]
        return ask.answered and number in self.world.judge.granted

    def fleet_queue(self, worker: SimWorker) -> Queue:
        """Give a worker's own queue."""
        queues = self.world.broker.bindings[FLEET_EXCHANGE]
        return next(queue for queue in queues if queue.owner is worker.connection)

    def give_back_unheard(self) -> SimWorker:
        """Have a worker give ids back while another one reads nothing; returns that one."""
        staying, leaving = self.joined(2)
        if self.serving() is not staying:
            staying, leaving = leaving, staying
        self.ask_of(staying)
        self.ask_of(leaving)
        self.fleet_channel(staying).down.hold(held=True)
        row = self.world.database.rows[TAG]
        leaving.stop()
        self.settle()
        assert self.world.database.rows[TAG] < row == mark_of(staying)
        return staying

    def serving(self) -> SimWorker:
        """Give the worker that gets the next request."""
        return self.world.broker.queues[ALLOC_QUEUE].consumers[0].channel.connection.worker

    def ask_of(self, worker: SimWorker, count: int = 1) -> int:
        """Send a request that this worker gets, and let it be answered."""
        consumers = self.world.broker.queues[ALLOC_QUEUE].consumers
        consumers.sort(key=lambda consumer: consumer.channel.connection.worker is not worker)
        number = self.ask(count=count)
        self.settle()
        return number

    def fleet_channel(self, worker: SimWorker) -> SimChannel:
        """Give the channel on which a worker hears the others."""
        return self.fleet_queue(worker).consumers[0].channel


def fleet_of(worker: SimWorker) -> Fleet:
    """Give a worker's part in the fleet."""
    return worker.service._fleet


def mark_of(worker: SimWorker, app_tag: str = TAG) -> int:
    """Tell up to where a worker knows a tag to be reserved."""
    return fleet_of(worker).marks.mark(app_tag)
