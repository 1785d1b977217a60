"""Messages are taken one by one after one of them ended the connection, and culprits go alone."""

from collections import Counter, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker
from pika.spec import Basic, BasicProperties

from idalloc_client.amqp._backoff import Backoff
from idalloc_client.amqp._io._channel import PikaChannel
from idalloc_client.amqp._io._frames import Properties
from idalloc_client.amqp._reason import ended_by_message
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE
from idalloc_worker.counters._registry import Event
from idalloc_worker.requests._quarantine import ORDERED, Quarantine
from idalloc_worker.tags._partitions import QUEUES
from tests.vouched import logged_in

POISON = ConnectionClosedByBroker(541, "INTERNAL_ERROR")
RESTART = ConnectionClosedByBroker(320, "CONNECTION_FORCED - broker forced connection closure")
CULPRIT = b"culprit"
HONEST = Properties(reply_to=b"caller")


class Bench:
    """A broker whose queues hold bodies, the owner of the quarantine, its link and its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.queues: dict[str, deque[bytes]] = {
            name: deque() for name in (ALLOC_QUEUE, HEALTH_QUEUE, *QUEUES)
        }
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.answered: list[tuple[str, bytes]] = []
        self.published: list[tuple[str, Properties]] = []
        self.released: list[str] = []
        self.links = self.stops = self.asked = self.waiting = 0
        self.events: Counter[Event] = Counter()
        self.quarantine = Quarantine(
            self,
            self._new_link,
            self._later,
            lambda: self.now,
            self.events,
            users=logged_in("w", names=("other-worker",)),
        )

    def fail_twice(self) -> None:
        self.quarantine.suspect()
        self.quarantine.suspect()

    def _new_link(self, *, handler: object, backoff: Backoff) -> Any:
        del handler, backoff
        self.links += 1
        return self

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.now + delay, callback))

    # The link, the channel, ours and pika's

    refuses = False

    def connect(self) -> None:
        if self.refuses:
            return
        connection = SimpleNamespace(
            params=SimpleNamespace(credentials=SimpleNamespace(username="w"))
        )
        channel = SimpleNamespace(add_callback=self._on_channel, connection=connection)
        message_channel: Any = SimpleNamespace(
            pika_channel=channel, get=self._get, publish=self._publish
        )
        self.answer: Callable[[], None] | None = None
        self.quarantine.on_ready(message_channel)

    def begin_stop(self, _on_stopped: Callable[[], None]) -> None:
        self.stops += 1

    def _on_channel(self, on_empty: Callable[..., None], _replies: object, _once: bool) -> None:  # noqa: FBT001
        self._on_empty = on_empty

    def _get(self, queue: str, on_message: Callable[[int, Properties, bytes], None]) -> None:
        assert self.answer is None, "one at a time"
        self.asked += 1
        messages = self.queues[queue]
        body = messages.popleft() if messages else None  # gone as soon as it is sent

        def answer() -> None:
            if body is None:
                self._on_empty(None)
            elif body == CULPRIT:
                self.end(POISON)
            else:
                kind = b"id.alloc.request" if body.startswith(b"direct") else None
                sent = Properties(user_id=body, reply_to=b"x", expiration=b"2000", type=kind)
                on_message(len(messages), sent, body)

        self.answer = answer

    def _publish(self, queue: bytes, properties: Properties, body: bytes) -> None:
        self.published.append((queue.decode(), properties))
        self.queues[queue.decode()].append(body)

    def end(self, reason: Exception) -> None:
        self.quarantine.on_lost(reason)
        self.connect()

    def run(self, seconds: float = 0.0) -> None:
        """Let the broker answer, and time pass once nothing is asked."""
        end = self.now + seconds
        while True:
            while self.answer is not None:
                answer, self.answer = self.answer, None
                answer()
            if not self.timers or min(self.timers, key=lambda timer: timer[0])[0] > end:
                self.now = end
                return
            due = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(due)
            self.now = max(self.now, due[0])
            due[1]()

    # The owner

    def on_single(self, queue: str, _properties: Properties, body: bytes) -> None:
        self.answered.append((queue, body))

    def on_released(self, kind: str) -> None:
        self.released.append(kind)

    def unsent(self) -> int:
        return self.waiting


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("reason", "suspicious"),
    [
        (POISON, True),
        (RESTART, False),
        (ChannelClosedByBroker(541, "INTERNAL_ERROR"), False),
        (ConnectionResetError(), False),
    ],
)
def test_only_an_internal_error_is_suspicious(reason: Exception, suspicious: bool) -> None:  # noqa: FBT001
    """A broker that restarts closes connections with 320, and no request is taken off for it."""
    assert ended_by_message(reason) is suspicious


def test_the_second_time_within_a_minute_is_enough(bench: Bench) -> None:
    """One may be chance."""
    bench.quarantine.suspect()
    assert not bench.quarantine.active
    bench.now += 61
    bench.quarantine.suspect()
    assert not bench.quarantine.active
    bench.now += 59
    bench.quarantine.suspect()
    assert bench.quarantine.active


def test_a_culprit_goes_with_the_connection_that_asked_for_it(bench: Bench) -> None:
    """And nothing else: those before and behind it are answered, in order."""
    bench.queues[ALLOC_QUEUE].extend([b"1", CULPRIT, CULPRIT, b"2"])
    bench.queues[HEALTH_QUEUE].extend([CULPRIT, b"3"])
    bench.fail_twice()
    bench.quarantine.begin(ordered=False)
    bench.run()
    assert bench.events[Event.POISON_SET_ASIDE] == 3
    assert bench.answered == [(ALLOC_QUEUE, b"1"), (ALLOC_QUEUE, b"2"), (HEALTH_QUEUE, b"3")]
    assert not bench.released


def test_queues_are_consumed_again_when_no_culprit_came_for_a_while(bench: Bench) -> None:
    """Those without one soon, and the connection goes with the last of them."""
    bench.queues[ALLOC_QUEUE].append(CULPRIT)
    bench.fail_twice()
    bench.quarantine.begin(ordered=True)
    bench.run(3)
    assert sorted(bench.released) == [HEALTH_QUEUE, ORDERED]
    assert (bench.quarantine.active, bench.stops) == (True, 0)
    bench.queues[ALLOC_QUEUE].append(CULPRIT)
    bench.run(8)
    assert bench.quarantine.active, "another one had come"
    bench.run(4)
    assert bench.released[2:] == [ALLOC_QUEUE]
    assert (bench.quarantine.active, bench.stops) == (False, 1)
    bench.quarantine.suspect()
    assert bench.quarantine.active, "the next one is enough for a while"


def test_bundles_are_put_back_for_their_owner(bench: Bench) -> None:
    """Each once in a round, under this worker's name; what no worker sent nobody would read."""
    queue = QUEUES[3]
    bench.queues[queue].extend([b"w", CULPRIT, b"other-worker", b"caller"])
    bench.fail_twice()
    bench.quarantine.begin(ordered=True)
    bench.run()
    assert list(bench.queues[queue]) == [b"w", b"other-worker"]
    assert [(name, sent.user_id) for name, sent in bench.published[-2:]] == [
        (queue, b"w"),
        (queue, b"w"),
    ]
    assert bench.events[Event.FOREIGN_MESSAGES] == 1
    assert all(sent.reply_to is None for _, sent in bench.published)
    assert not bench.answered
    assert len(bench.published) <= 4, "it goes round and round"


def test_many_bundles_do_not_stand_in_front_of_requests(bench: Bench) -> None:
    """A round through a partition's queue is left and taken up again."""
    bench.queues[QUEUES[0]].extend([b"w"] * 5000)
    bench.fail_twice()
    bench.quarantine.begin(ordered=True)
    for _ in range(20):  # the first messages of all queues were asked for
        answer, bench.answer = bench.answer, None
        assert answer is not None
        answer()
    bench.queues[ALLOC_QUEUE].append(b"1")
    bench.now += 0.02
    asked = bench.asked
    while not bench.answered:
        answer, bench.answer = bench.answer, None
        assert answer is not None
        answer()
    assert bench.asked - asked < 1000


def test_a_lost_connection_is_no_culprit(bench: Bench) -> None:
    """The broker restarts while a message is asked for."""
    bench.fail_twice()
    bench.quarantine.begin(ordered=False)
    bench.answer = None
    bench.end(RESTART)
    bench.queues[ALLOC_QUEUE].append(b"1")
    bench.run(0.1)
    assert bench.answered == [(ALLOC_QUEUE, b"1")]
    assert not bench.events


def test_a_queue_that_may_not_be_read_is_left_alone(bench: Bench) -> None:
    """Whoever consumes it again is told why."""
    bench.fail_twice()
    bench.quarantine.begin(ordered=False)
    bench.answer = None
    bench.end(ChannelClosedByBroker(404, "NOT_FOUND - no queue 'id.alloc'"))
    bench.run(0.1)
    assert bench.released == [ALLOC_QUEUE]


def test_without_a_further_connection_messages_are_consumed(bench: Bench) -> None:
    """A user's limit of connections may allow no other one."""
    bench.fail_twice()
    bench.refuses = True
    bench.quarantine.begin(ordered=True)
    for _ in range(3):
        bench.quarantine.on_lost(ConnectionClosedByBroker(530, "NOT_ALLOWED - limit"))
    assert bench.released == [ALLOC_QUEUE, HEALTH_QUEUE, ORDERED]
    assert (bench.quarantine.active, bench.stops) == (False, 1)


def test_a_queue_that_grows_is_consumed_again(bench: Bench) -> None:
    """One by one is slower than many at a time."""
    bench.queues[ALLOC_QUEUE].extend(b"%d" % number for number in range(5000))
    bench.fail_twice()
    bench.quarantine.begin(ordered=False)
    bench.run()
    assert bench.released == [ALLOC_QUEUE]
    assert len(bench.answered) == 1000


def test_no_more_is_taken_than_is_answered(bench: Bench) -> None:
    """What is taken is in this process's memory alone."""
    bench.fail_twice()
    bench.waiting = 100
    bench.quarantine.begin(ordered=False)
    bench.run(0.5)
    assert not bench.asked
    bench.waiting = 0
    bench.run(0.1)
    assert bench.asked


def test_a_message_that_comes_after_the_end_is_answered(bench: Bench) -> None:
    """The worker stops, or its own connection is lost, while a message is on its way."""
    bench.queues[ALLOC_QUEUE].append(b"1")
    bench.fail_twice()
    bench.quarantine.begin(ordered=False)
    bench.quarantine.stop()
    bench.run()
    assert bench.answered == [(ALLOC_QUEUE, b"1")]
    bench.run(5)
    assert (bench.asked, bench.stops) == (1, 1)


def test_a_message_is_gone_from_its_queue_as_it_is_sent() -> None:
    """Whoever would have to acknowledge it cannot: the connection has ended."""
    asked: list[tuple[str, bool]] = []
    got: list[tuple[int, Properties, bytes]] = []

    def basic_get(queue: str, callback: Callable[..., None], *, auto_ack: bool) -> None:
        asked.append((queue, auto_ack))
        properties = BasicProperties(reply_to="caller", correlation_id="1")
        callback(None, Basic.GetOk(message_count=7), properties, b"{}")

    channel: Any = SimpleNamespace(basic_get=basic_get)
    PikaChannel(channel).get(ALLOC_QUEUE, lambda *message: got.append(message))
    assert asked == [(ALLOC_QUEUE, True)]
    assert got == [(7, Properties(reply_to=b"caller", correlation_id=b"1"), b"{}")]


def test_what_was_asked_for_at_the_end_is_still_answered(bench: Bench) -> None:
    """Its queue has it no more: a worker that stops meanwhile would take it along."""
    bench.fail_twice()
    bench.queues[ALLOC_QUEUE].append(b"last")
    bench.quarantine.begin(ordered=True)
    finished: list[int] = []
    bench.quarantine.finish(lambda: finished.append(1))
    assert (finished, bench.stops) == ([], 0)
    bench.run()
    assert bench.answered == [(ALLOC_QUEUE, b"last")]
    assert (finished, bench.stops, bench.released) == ([1], 1, [])


def test_a_bundle_that_was_asked_for_at_the_end_is_put_back(bench: Bench) -> None:
    bench.fail_twice()
    bench.quarantine.begin(ordered=True)
    while bench.asked < 3:  # behind `id.alloc` and `id.health`, which are empty
        answer, bench.answer = bench.answer, None
        assert answer is not None
        answer()
        bench.queues[QUEUES[0]].append(b"other-worker")
    bench.quarantine.finish(lambda: None)
    published = len(bench.published)
    bench.run()
    ((queue, properties),) = bench.published[published:]
    assert (queue, properties.expiration) == (QUEUES[0], b"1500"), (
        "it is valid no longer than before"
    )
    assert bench.stops == 1


def test_an_end_waits_for_nothing_that_was_not_asked_for(bench: Bench) -> None:
    """Nor for a connection that is not there."""
    bench.refuses = True
    bench.fail_twice()
    bench.quarantine.begin(ordered=False)
    finished: list[int] = []
    bench.quarantine.finish(lambda: finished.append(1))
    assert (finished, bench.stops) == ([1], 1)


def test_what_callers_have_sent_to_an_owner_is_like_other_requests(bench: Bench) -> None:
    """It is passed on from here, under its sender's name; also what comes after the end."""
    bench.queues[QUEUES[3]].extend([b"direct 1", CULPRIT, b"w", b"direct 2"])
    bench.fail_twice()
    bench.quarantine.begin(ordered=True)
    bench.run()
    assert bench.answered == [(ALLOC_QUEUE, b"direct 1"), (ALLOC_QUEUE, b"direct 2")]
    assert list(bench.queues[QUEUES[3]]) == [b"w"]
