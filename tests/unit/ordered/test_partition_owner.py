"""The life of a generation: when it begins, what ends it, and that nothing outlives it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker

from idalloc_client.amqp._io._delivery_layout import OnDelivery
from idalloc_client.amqp._io._frames import Properties
from idalloc_worker.ordered._fences import FENCE_TYPE
from idalloc_worker.ordered._flood_guard import MOST
from idalloc_worker.ordered._owner_session import DirectRequest
from idalloc_worker.ordered._partition_owner import PartitionOwner
from idalloc_worker.requests._session import Delivery
from idalloc_worker.tags._partitions import (
    QUEUE_ARGUMENTS,
    QUEUES,
    QUORUM_ARGUMENTS,
    QUORUM_CONSUMER_ARGUMENTS,
    SINGLE_ACTIVE,
    consumer_arguments,
    precedence,
)
from tests.vouched import logged_in

WORKER = "idalloc worker host:1"


class FakeChannel:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_open = True
        self.declared: list[tuple[str, Any]] = []
        self.consumed: list[str] = []
        self.arguments: list[Any] = []
        self.published: list[tuple[bytes, Properties, bytes]] = []
        self.acks: list[tuple[int, bool]] = []
        self.taken: dict[str, OnDelivery] = {}
        self._rpcs: list[Callable[[Any], None]] = []

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed = callback

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        self.on_cancelled = callback

    def basic_qos(self, *, prefetch_count: int) -> None:
        assert prefetch_count > 0

    def queue_declare(
        self, queue: str, *, durable: bool, arguments: Any, callback: Callable[[Any], None]
    ) -> None:
        assert durable
        self.declared.append((queue, arguments))
        self._rpcs.append(callback)

    def consume(
        self,
        queue: str,
        consumer_tag: str,
        on_delivery: OnDelivery,
        on_consuming: Callable[[], None],
        *,
        arguments: Any,
    ) -> None:
        partition = QUEUES.index(queue)
        assert consumer_tag == f"{WORKER} ordered.{partition}"
        self.consumed.append(queue)
        self.arguments.append(arguments)
        self.taken[queue] = on_delivery
        self._rpcs.append(lambda _frame: on_consuming())

    def basic_cancel(self, _tag: str, callback: Callable[[Any], None]) -> None:
        self._rpcs.append(callback)

    def answer_one(self) -> None:
        """Let the broker answer what was asked first."""
        self._rpcs.pop(0)(None)

    def answer(self) -> None:
        """Let the broker answer all that was asked."""
        while self._rpcs:
            self._rpcs.pop(0)(None)

    def deliver(
        self,
        queue: str,
        tag: int = 1,
        *,
        redelivered: bool = False,
        properties: Properties | None = None,
        body: bytes = b"",
    ) -> None:
        given = properties or Properties(user_id=b"idalloc-worker")
        self.taken[queue](tag, redelivered, given, body)

    def close_by_broker(self, code: int, text: str = "why") -> None:
        self.is_open = False
        self.on_closed(self, ChannelClosedByBroker(code, text))

    def close(self) -> None:
        self.is_open = False


class FakeMessageChannel:
    def __init__(self, channel: Any) -> None:
        self.pika_channel = channel

    @property
    def is_open(self) -> bool:
        return bool(self.pika_channel.is_open)

    def consume(self, *args: Any, **kwargs: Any) -> None:
        self.pika_channel.consume(*args, **kwargs)

    def publish(self, routing_key: bytes, properties: Properties, body: bytes) -> None:
        self.pika_channel.published.append((routing_key, properties, body))

    def ack(self, tag: int, *, multiple: bool) -> None:
        self.pika_channel.acks.append((tag, multiple))


class FakeConnection:
    is_open = True

    def __init__(self, version: str = "3.10.8") -> None:
        self.server_properties = {"product": b"RabbitMQ", "version": version.encode()}
        self.channels: list[FakeChannel] = []

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        self.channels.append(FakeChannel(self))
        on_open_callback(self.channels[-1])

    @property
    def last(self) -> FakeChannel:
        return self.channels[-1]


class Bench:
    """A PartitionOwner, its connection and its loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.bundles: list[str] = []
        self.requests: list[DirectRequest] = []
        self.dropped: list[bytes | None] = []
        self.ends = 0
        self.soon: list[Callable[[], None]] = []
        self.owner = PartitionOwner(
            WORKER,
            SimpleNamespace(
                call_soon=self.soon.append,
                call_later=lambda delay, callback: self.later.append((delay, callback)),
                message_channel=FakeMessageChannel,
            ),
            lambda: self.now,
            users=logged_in(),
            on_dropped=lambda delivery: self.dropped.append(delivery.user),
            on_bundle=lambda delivery, _properties, _body: self.bundles.append(delivery.queue),
            on_replied=lambda _since: None,
            on_end=self._on_end,
        )
        self.owner.on_request = lambda delivery, _properties, _body: self._on_request(delivery)
        self.connection: Any = FakeConnection()

    def _on_request(self, delivery: Delivery) -> None:
        assert isinstance(delivery, DirectRequest)
        self.requests.append(delivery)

    def _on_end(self) -> None:
        self.ends += 1

    def end_turn(self) -> None:
        """Run what is to follow all that was read."""
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()

    def pass_time(self) -> None:
        """Run what is due, in the order in which it is."""
        due, self.later = sorted(self.later, key=lambda timer: timer[0]), []
        for _, callback in due:
            callback()

    def begin(self) -> FakeChannel:
        self.owner.start(self.connection)
        return self.join()

    def join(self) -> FakeChannel:
        channel: FakeChannel = self.connection.last
        channel.answer()
        self.pass_time()
        channel.answer()
        return channel


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_partition_is_declared_and_joined_the_most_wanted_first(bench: Bench) -> None:
    """Workers that start together share the partitions."""
    channel = bench.begin()
    assert channel.declared == [
        (queue, arguments) for arguments in (SINGLE_ACTIVE, QUEUE_ARGUMENTS) for queue in QUEUES
    ]
    wanted = sorted(range(len(QUEUES)), key=lambda p: -precedence(WORKER, p))
    assert channel.consumed == [QUEUES[partition] for partition in wanted]
    assert channel.arguments == [consumer_arguments(WORKER, partition) for partition in wanted]
    assert bench.owner.problem is None


def test_who_may_not_declare_consumes_what_is_there(bench: Bench) -> None:
    """Least privilege: the queues come from the definitions."""
    bench.owner.start(bench.connection)
    bench.connection.last.close_by_broker(403)
    bench.pass_time()
    channel = bench.join()
    assert channel.declared == []
    assert len(channel.consumed) == len(QUEUES)
    bench.owner.stop()
    bench.connection = FakeConnection()
    assert bench.begin().declared == []  # it need not be told again


@pytest.mark.parametrize("code", [403, 404])
def test_what_keeps_it_from_owning_is_told_and_tried_again(bench: Bench, code: int) -> None:
    """The service refuses ordered tags meanwhile."""
    bench.begin().close_by_broker(code)
    assert bench.owner.problem is not None
    bench.pass_time()
    channel = bench.join()
    assert len(bench.connection.channels) == 2
    assert {queue for queue, _ in channel.declared} == set(QUEUES)
    assert bench.owner.problem is None


OTHER_TYPE = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'id.ordered.0'"
NO_SUCH_ARGUMENT = "PRECONDITION_FAILED - invalid arg 'x-%s' for queue 'id.ordered.0'"


def test_queues_that_are_neither_of_a_type_nor_of_the_other_are_told(bench: Bench) -> None:
    """One has two consumers at a time, say. It is tried again."""
    bench.owner.start(bench.connection)
    for given in (SINGLE_ACTIVE, QUEUE_ARGUMENTS, QUORUM_ARGUMENTS):
        assert bench.owner.problem is None
        assert bench.connection.last.declared == [(QUEUES[0], given)]
        bench.connection.last.close_by_broker(406, OTHER_TYPE)
        bench.pass_time()
    assert "delete the queue" in str(bench.owner.problem)
    assert bench.join().declared[0] == (QUEUES[0], SINGLE_ACTIVE)
    assert bench.owner.problem is None


def test_quorum_queues_are_taken_as_they_are(bench: Bench) -> None:
    """Declared by the virtual host's default or by somebody; the worker remembers what they are."""
    bench.owner.start(bench.connection)
    for _ in range(2):
        bench.connection.last.close_by_broker(406, OTHER_TYPE)
        bench.pass_time()
    channel = bench.join()
    assert channel.declared == [(queue, QUORUM_ARGUMENTS) for queue in QUEUES]
    assert channel.arguments == [QUORUM_CONSUMER_ARGUMENTS] * len(QUEUES)
    assert bench.owner.problem is None
    bench.owner.stop()
    bench.connection = FakeConnection()
    assert bench.begin().declared == [(queue, QUORUM_ARGUMENTS) for queue in QUEUES]


def test_quorum_queues_that_workers_made_are_taken_too(bench: Bench) -> None:
    """By the virtual host's default; they lack what definitions give them."""
    bench.connection = FakeConnection("4.3.0")
    bench.owner.start(bench.connection)
    for _ in QUEUES:
        bench.connection.last.answer_one()
    assert bench.connection.last.declared[-1] == (QUEUES[0], QUORUM_ARGUMENTS)
    name = "x-consumer-disconnected-timeout"
    bench.connection.last.close_by_broker(406, f"PRECONDITION_FAILED - inequivalent arg '{name}'")
    bench.pass_time()
    channel = bench.join()
    assert channel.declared[-1] == (QUEUES[-1], {"x-queue-type": "quorum", **SINGLE_ACTIVE})
    assert channel.arguments == [QUORUM_CONSUMER_ARGUMENTS] * len(QUEUES)
    assert bench.owner.problem is None


@pytest.mark.parametrize("late", ["closing", "another"])
def test_an_answer_that_comes_as_the_channel_goes_asks_for_no_more(bench: Bench, late: str) -> None:
    """What is asked then would end the connection."""
    bench.owner.start(bench.connection)
    channel = bench.connection.last
    if late == "closing":
        channel.is_open = False
    else:
        channel.close_by_broker(406, OTHER_TYPE)
    channel.answer()
    assert len(channel.declared) == 1


@pytest.mark.parametrize(
    ("version", "refused", "consumed"),
    [
        ("3.10.8", "cancel-on-ha-failover", QUORUM_CONSUMER_ARGUMENTS),
        ("4.3.0", "consumer-timeout", consumer_arguments(WORKER, 0)),
    ],
)
def test_who_may_not_declare_learns_it_from_the_consumers_arguments(
    bench: Bench, version: str, refused: str, consumed: Any
) -> None:
    """RabbitMQ 3 has one for classic queues alone, 4.3 one for quorum queues."""
    bench.connection = FakeConnection(version)
    bench.owner.start(bench.connection)
    bench.connection.last.close_by_broker(403)
    bench.pass_time()
    bench.pass_time()
    bench.connection.last.close_by_broker(406, NO_SUCH_ARGUMENT % refused)
    bench.pass_time()
    channel = bench.join()
    assert channel.declared == []
    assert consumed in channel.arguments
    assert bench.owner.problem is None


@pytest.mark.parametrize("text", ["unknown delivery tag 7", "delivery acknowledgement timed out"])
def test_no_other_refusal_says_what_the_queues_are(bench: Bench, text: str) -> None:
    """The advice would be to delete a queue."""
    bench.begin().close_by_broker(406, f"PRECONDITION_FAILED - {text}")
    assert bench.owner.problem is None
    bench.pass_time()
    assert {given["x-queue-type"] for _, given in bench.join().declared} == {"classic"}


@pytest.mark.parametrize("end", ["channel", "cancel", "connection"])
def test_a_generation_ends_with_any_of_its_parts(bench: Bench, end: str) -> None:
    """Once; and what comes in afterwards is nobody's."""
    channel = bench.begin()
    channel.deliver(QUEUES[3])
    assert bench.owner.delivered_to == {3}
    match end:
        case "channel":
            channel.close_by_broker(541)
        case "cancel":
            channel.on_cancelled(None)
            assert not channel.is_open
        case _:
            bench.owner.stop()
            assert not channel.is_open
    assert (bench.ends, bench.owner.delivered_to) == (1, set())
    channel.deliver(QUEUES[3])  # read while the channel was being closed
    assert bench.bundles == [QUEUES[3]]
    assert bench.owner.delivered_to == set()


def test_partitions_are_not_joined_after_the_end(bench: Bench) -> None:
    """A timer of an earlier generation does nothing."""
    bench.owner.start(bench.connection)
    channel = bench.connection.last
    channel.answer()
    bench.owner.stop()
    bench.pass_time()
    assert channel.consumed == []


def test_a_stop_tells_when_nothing_comes_any_more(bench: Bench) -> None:
    """The consumers are cancelled, and no generation follows."""
    channel = bench.begin()
    told: list[bool] = []
    bench.owner.cancel(lambda: told.append(True))
    assert told == []
    channel.answer()
    assert told == [True]
    channel.close_by_broker(320)
    bench.pass_time()
    assert len(bench.connection.channels) == 1
    assert bench.ends == 1


def test_a_stop_before_the_first_partition_is_joined(bench: Bench) -> None:
    """There is nothing to wait for."""
    bench.owner.start(bench.connection)
    bench.connection.last.answer()
    told: list[bool] = []
    bench.owner.cancel(lambda: told.append(True))
    assert told == [True]
    bench.pass_time()
    assert bench.connection.last.consumed == []


def test_a_stop_ends_although_the_channel_does(bench: Bench) -> None:
    """Whoever waits for the cancellation hears of it in any case."""
    channel = bench.begin()
    told: list[bool] = []
    bench.owner.cancel(lambda: told.append(True))
    channel.close_by_broker(541)
    assert told == [True]


# Quorum queues


@pytest.fixture
def quorum(bench: Bench) -> FakeChannel:
    bench.owner.start(bench.connection)
    for _ in range(2):
        bench.connection.last.close_by_broker(406, OTHER_TYPE)
        bench.pass_time()
    return bench.join()


def test_an_owner_that_was_passed_over_starts_anew(bench: Bench, quorum: FakeChannel) -> None:
    """What comes back was with another owner: all that is held is void, and nothing is answered."""
    quorum.deliver(QUEUES[3], 1)
    assert bench.bundles == []
    ((queue, fence, body),) = quorum.published
    assert (queue, fence.type) == (QUEUES[3].encode(), FENCE_TYPE)
    quorum.deliver(QUEUES[3], 2, properties=fence, body=body)
    assert bench.bundles == [QUEUES[3]]
    quorum.deliver(QUEUES[3], 3, redelivered=True)
    assert (bench.bundles, bench.ends, quorum.is_open) == ([QUEUES[3]], 1, False)
    bench.pass_time()
    assert bench.connection.last is not quorum


def finished(bench: Bench, channel: FakeChannel, tag: int) -> list[tuple[int, bool]]:
    """Finish a message of the present generation; tell what is acknowledged in that turn."""
    session = bench.owner._session
    assert session
    before = len(channel.acks)
    session.finish(Delivery(session, tag, QUEUES[3], None, None, redelivered=False))
    bench.end_turn()
    return channel.acks[before:]


def test_an_owner_of_a_quorum_queue_holds_acknowledgements_back(
    bench: Bench, quorum: FakeChannel
) -> None:
    """For a moment: the next message would wait until the one before is deleted on disk."""
    assert finished(bench, quorum, 1) == []
    bench.pass_time()
    assert quorum.acks == [(1, False)]
    finished(bench, quorum, 2)
    bench.owner.cancel(lambda: None)
    bench.owner.flush()
    assert quorum.acks == [(1, False), (2, False)]


def test_an_owner_of_a_classic_queue_acknowledges_at_once(bench: Bench) -> None:
    """There it saves nothing."""
    assert finished(bench, bench.begin(), 1) == [(1, False)]


def test_an_owner_of_a_quorum_queue_leaves_with_all_that_it_has(
    bench: Bench, quorum: FakeChannel
) -> None:
    """A consumer that is cancelled would keep its fence while the next one is served."""
    told: list[bool] = []
    bench.owner.cancel(lambda: told.append(True))
    assert (told, quorum.is_open) == ([True], True)
    bench.owner.flush()
    assert (quorum.is_open, bench.ends) == (False, 0)  # nothing is void: what is left is given back
    bench.pass_time()
    assert bench.connection.last is quorum


DIRECT = Properties(type=b"id.alloc.request", user_id=b"alice", reply_to=b"q")


def test_a_callers_request_is_answered_by_the_generation_it_came_to(bench: Bench) -> None:
    """Not by the next one, which knows nothing of what went out meanwhile."""
    channel = bench.begin()
    channel.deliver(QUEUES[3], properties=DIRECT)
    (request,) = bench.requests
    assert (request.queue, request.partition, request.user) == ("id.alloc", QUEUES[3], b"alice")
    assert bench.owner.owns(request)
    assert (bench.bundles, bench.owner.delivered_to) == ([], {3})
    channel.close_by_broker(404)
    assert not bench.owner.owns(request)
    bench.pass_time()
    bench.join()
    assert not bench.owner.owns(request)
    channel.deliver(QUEUES[3], properties=DIRECT)
    assert len(bench.requests) == 1, "it came while the channel was being closed"


def test_a_callers_request_at_a_quorum_queue_is_passed_on_before_the_fence(bench: Bench) -> None:
    """Somebody else may have been the owner just now."""
    bench.connection = FakeConnection("4.3.0")
    channel = bench.begin()
    channel.deliver(QUEUES[3], properties=DIRECT)
    assert not bench.owner.owns(bench.requests[0])
    assert not bench.owner.delivered_to
    (key, fence, body), *_ = channel.published
    assert (key, fence.type) == (QUEUES[3].encode(), FENCE_TYPE)
    channel.deliver(QUEUES[3], 2, properties=fence, body=body)
    channel.deliver(QUEUES[3], 3, properties=DIRECT)
    assert bench.owner.owns(bench.requests[1])


GREEDY = Properties(type=b"id.alloc.request", user_id=b"greedy", reply_to=b"q")


def test_one_user_may_send_many_requests_at_once(bench: Bench) -> None:
    """It may have many tags, and many services may be one user."""
    channel = bench.begin()
    for number in range(500):
        channel.deliver(QUEUES[3], number + 1, properties=GREEDY)
    bench.end_turn()
    assert (len(bench.requests), channel.acks) == (500, [])


def test_one_user_cannot_fill_a_partition(bench: Bench) -> None:
    """What it sends beyond a measure is dropped, which has an outcome; others are served."""
    channel = bench.begin()
    numbers = iter(range(1, 10_000))
    for _ in range(3000):
        channel.deliver(QUEUES[3], next(numbers), properties=GREEDY)
    channel.deliver(QUEUES[3], next(numbers), properties=DIRECT)
    assert [request.user for request in bench.requests] == [b"greedy"] * MOST + [b"alice"]
    bench.end_turn()
    assert len(channel.acks) == 3000 - MOST
    assert bench.dropped == [b"greedy"] * (3000 - MOST)
