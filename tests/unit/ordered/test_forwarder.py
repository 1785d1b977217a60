"""How requests are passed on: when they count as done, and who hears if they cannot be."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, ChannelClosedByClient
from pika.spec import Basic

from idalloc_schemas import AllocRequest, RespCode
from idalloc_worker.engine._effects import Refused
from idalloc_worker.ordered._bundles import MAX_REQUESTS, decode_bundle
from idalloc_worker.ordered._forwarder import SILENT_AFTER, Forwarder
from idalloc_worker.ordered._second_tries import LONGEST, MOST
from idalloc_worker.requests._session import Delivery
from idalloc_worker.rights._fleet_users import FleetUsers
from idalloc_worker.tags._partitions import QUEUES, partition_of

NOW = 100.0


class FakeChannel:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.is_open = True
        self.published: list[tuple[str, Any, bytes]] = []

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self.on_closed = callback

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None:
        """Consume nothing that could be cancelled."""

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self.on_return = callback

    def confirm_delivery(self, callback: Callable[..., None]) -> None:
        self.on_confirm = callback

    def basic_publish(
        self, exchange: str, key: str, body: bytes, properties: Any, *, mandatory: bool
    ) -> None:
        assert (exchange, mandatory) == ("", True)
        self.published.append((key, properties, body))

    def confirm(self, number: int, *, multiple: bool = False, ack: bool = True) -> None:
        method = (Basic.Ack if ack else Basic.Nack)(number, multiple)
        self.on_confirm(SimpleNamespace(method=method))

    def return_message(self, index: int) -> None:
        key, properties, body = self.published[index]
        self.on_return(self, Basic.Return(312, "NO_ROUTE", "", key), properties, body)

    def close(self) -> None:
        self.is_open = False


class FakeConnection:
    is_open = True
    params = SimpleNamespace(credentials=SimpleNamespace(username="idalloc-worker"))

    def __init__(self) -> None:
        self.channels: list[FakeChannel] = []

    def channel(self, on_open_callback: Callable[[Any], None]) -> None:
        self.channels.append(FakeChannel(self))
        self.open = on_open_callback

    @property
    def last(self) -> FakeChannel:
        return self.channels[-1]


class FakeLoop:
    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, _delay: float, callback: Callable[[], None]) -> Any:
        self.later.append(callback)

    def turn(self) -> None:
        while self.soon:
            self.soon.pop(0)()


@dataclass
class FakeSession:
    finished: list[Delivery] = field(default_factory=list)

    def finish(self, delivery: Delivery) -> None:
        self.finished.append(delivery)


@dataclass
class FakeDesk:
    refused: list[tuple[Delivery, Refused]] = field(default_factory=list)
    expired: list[Delivery] = field(default_factory=list)

    def answer(self, delivery: Delivery, refusal: Refused) -> None:
        self.refused.append((delivery, refusal))

    def expire(self, delivery: Delivery) -> None:
        self.expired.append(delivery)


class Bench:
    def __init__(self) -> None:
        self.now = NOW
        self.loop, self.responder, self.session = FakeLoop(), FakeDesk(), FakeSession()
        self.forwarder = Forwarder(
            "worker", self.loop, self.responder, lambda: self.now, Counter(), FleetUsers()
        )
        self.connection: Any = FakeConnection()

    def taken(self) -> None:
        """Have the broker say that the last message is with its queue."""
        channel: FakeChannel = self.connection.last
        channel.confirm(len(channel.published))

    def not_taken(self, *, missing: bool) -> None:
        """Have the broker say that the last message is not: its queue is missing, or full."""
        channel: FakeChannel = self.connection.last
        number = len(channel.published)
        if missing:
            channel.return_message(number - 1)
        channel.confirm(number, ack=missing)

    def later(self) -> None:
        """Let what was put off come."""
        due, self.loop.later = self.loop.later, []
        for callback in due:
            callback()
        self.loop.turn()

    def open(self) -> FakeChannel:
        self.forwarder.open(self.connection)
        channel: FakeChannel = self.connection.last
        self.connection.open(channel)
        self.loop.turn()
        return channel

    def add(self, count: int = 1, *, app_tag: str = "order", seconds: float = 5.0) -> list[Any]:
        session: Any = self.session
        added = [
            Delivery(
                session,
                number,
                "id.alloc",
                b"replies",
                b"%d" % number,
                redelivered=False,
                user=b"alice",
                request=AllocRequest(app_tag=app_tag),
                deadline=NOW + seconds,
            )
            for number in range(count)
        ]
        for delivery in added:
            self.forwarder.add(delivery)
        self.loop.turn()
        return added


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_requests_of_one_turn_travel_together_and_count_once_confirmed(bench: Bench) -> None:
    """The message says all that the owner needs, and for how long it is of use."""
    channel = bench.open()
    added = bench.add(3)
    ((key, properties, body),) = channel.published
    assert key == QUEUES[partition_of("order")]
    assert (properties.expiration, properties.user_id) == ("5000", "idalloc-worker")
    requests = decode_bundle(body, partition_of("order"))
    assert [(r.correlation_id, r.reply_to, r.user) for r in requests] == [
        (b"0", b"replies", b"alice"),
        (b"1", b"replies", b"alice"),
        (b"2", b"replies", b"alice"),
    ]
    assert bench.session.finished == []
    channel.confirm(1)
    assert bench.session.finished == added


def test_a_trace_goes_along_and_ends_once_the_owners_queue_has_it(bench: Bench) -> None:
    """The owner goes on with it; what has none names none."""
    ends: list[str] = []
    traceparent = b"00-" + b"7" * 32 + b"-" + b"7" * 16 + b"-01"
    shown: Any = SimpleNamespace(traceparent=traceparent, end=ends.append)
    first, _ = bench.add(2)
    first.trace = shown
    channel = bench.open()
    ((_, _, body),) = channel.published
    requests = decode_bundle(body, partition_of("order"))
    assert [request.traceparent for request in requests] == [traceparent, None]
    assert not ends
    channel.confirm(1)
    assert ends == ["forwarded"]


def test_a_confirm_may_stand_for_several(bench: Bench) -> None:
    """`multiple` covers all before it, and none after."""
    channel = bench.open()
    first, second, third = bench.add(), bench.add(), bench.add()
    channel.confirm(2, multiple=True)
    assert bench.session.finished == first + second
    channel.confirm(3)
    assert bench.session.finished == first + second + third


@pytest.mark.parametrize("missing", [False, True])
def test_a_message_that_its_queue_does_not_take_is_answered_with_an_error(
    bench: Bench, *, missing: bool
) -> None:
    """The queue stays full, or missing: its caller hears it, and may ask again."""
    channel = bench.open()
    bench.add()
    bench.taken()
    refused = bench.add(2)
    bench.not_taken(missing=missing)
    bench.now += LONGEST
    assert bench.responder.refused == []
    bench.later()
    assert len(channel.published) == 3
    bench.not_taken(missing=missing)
    assert [delivery for delivery, _ in bench.responder.refused] == refused
    code = RespCode.NO_AVAILABLE_ID if missing else RespCode.BUSY
    assert {refusal.code for _, refusal in bench.responder.refused} == {code}
    assert all(refusal.retry_after for _, refusal in bench.responder.refused)


def test_a_request_is_passed_on_again_while_its_queue_may_be_about_to_be_declared(
    bench: Bench,
) -> None:
    """A worker that starts on a fresh broker, or after the queue was deleted, declares it."""
    bench.open()
    for _ in range(2):
        added = bench.add()
        bench.not_taken(missing=True)
        bench.later()
        bench.taken()
        assert bench.session.finished[-1:] == added
        bench.now += 2 * LONGEST
    assert bench.responder.refused == []


def test_nobody_waits_for_a_queue_that_stays_missing(bench: Bench) -> None:
    """Nor does the broker return the same requests over and over; another connection may help."""
    bench.open()
    bench.add(seconds=60)
    bench.not_taken(missing=True)
    bench.now += LONGEST + 0.1
    late = bench.add(seconds=60)
    bench.not_taken(missing=True)
    assert [delivery for delivery, _ in bench.responder.refused] == late
    bench.forwarder.lose()
    bench.open()
    bench.add(seconds=60)
    bench.not_taken(missing=True)
    assert len(bench.responder.refused) == 1


def test_a_request_is_passed_on_again_while_its_queue_is_full(bench: Bench) -> None:
    """A caller may be filling it, faster than it is emptied, but not all the time."""
    channel = bench.open()
    before, added, idle = bench.add(), bench.add(), []
    channel.confirm(1)
    channel.confirm(2, ack=False)
    bench.forwarder.when_idle(lambda: idle.append(True))
    assert (bench.responder.refused, len(channel.published), idle) == ([], 2, [])
    bench.later()
    assert len(channel.published) == 3
    channel.confirm(3)
    finished = before + added
    assert (bench.session.finished, bench.responder.refused, idle) == (finished, [], [True])


def test_not_too_many_are_passed_on_again_at_a_time(bench: Bench) -> None:
    """Others would have to wait for what the worker has taken: past a limit the answer is BUSY."""
    channel = bench.open()
    for _ in range(MOST + 1):
        bench.add()
    channel.confirm(len(channel.published), multiple=True, ack=False)
    assert [refusal.code for _, refusal in bench.responder.refused] == [RespCode.BUSY]


def test_nothing_is_passed_on_again_after_its_connection(bench: Bench) -> None:
    """The broker delivers it anew."""
    bench.open().confirm(1)
    bench.add()
    bench.connection.last.confirm(1, ack=False)
    bench.forwarder.lose()
    again = bench.open()
    bench.later()
    assert again.published == []


def test_what_is_too_late_is_not_sent(bench: Bench) -> None:
    """A message with no time left would be dropped by the broker, unless it reached the owner."""
    channel = bench.open()
    late = bench.add(seconds=0.0005)
    assert channel.published == []
    assert bench.responder.expired == late


def test_requests_wait_for_the_channel(bench: Bench) -> None:
    """Those that come before it is open leave once it is."""
    bench.forwarder.open(bench.connection)
    bench.add(MAX_REQUESTS + 1)
    channel = bench.connection.last
    assert channel.published == []
    bench.connection.open(channel)
    bench.loop.turn()
    assert len(channel.published) == 2


def test_a_lost_connection_voids_everything(bench: Bench) -> None:
    """The broker delivers the requests anew, so that nobody is answered or told here."""
    channel = bench.open()
    bench.add()
    bench.forwarder.lose()
    channel.confirm(1)
    assert not bench.session.finished
    assert not bench.responder.refused
    again = bench.open()
    assert again.published == []


def test_a_channel_that_the_broker_closes_is_replaced(bench: Bench) -> None:
    """What was not confirmed is handed back; a user name that is not accepted is left out."""
    channel = bench.open()
    lost = bench.add()
    channel.is_open = False
    channel.on_closed(channel, ChannelClosedByBroker(406, "PRECONDITION_FAILED - user_id"))
    assert [(d, r.code) for d, r in bench.responder.refused] == [(lost[0], RespCode.SHUTTING_DOWN)]
    waiting = bench.add()
    bench.loop.later.pop()()
    replacement = bench.connection.last
    assert replacement is not channel
    bench.connection.open(replacement)
    bench.loop.turn()
    ((_, properties, _),) = replacement.published
    assert properties.user_id is None
    replacement.confirm(1)
    assert bench.session.finished == waiting


def test_a_channel_that_this_worker_closes_is_nothing_to_tell(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A stop closes it with the connection; no other one follows."""
    channel = bench.open()
    bench.add()
    channel.is_open = False
    channel.on_closed(channel, ChannelClosedByClient(200, "Normal shutdown"))
    assert caplog.messages == []
    bench.later()
    assert len(bench.connection.channels) == 1
    assert not bench.responder.refused


def test_idle_is_told_when_all_is_with_the_owners(bench: Bench) -> None:
    """A worker that stops waits for it."""
    told: list[bool] = []
    channel = bench.open()
    bench.add()
    bench.forwarder.when_idle(lambda: told.append(True))
    assert told == []
    channel.confirm(1)
    assert told == [True]
    bench.forwarder.when_idle(lambda: told.append(True))
    assert told == [True, True]


def test_what_the_broker_says_nothing_of_goes_over_another_channel(bench: Bench) -> None:
    """RabbitMQ 3.10 may lose all that a channel sends while a queue's leader dies."""
    silent = bench.open()
    first, second = bench.add(), bench.add()
    silent.confirm(1)
    bench.now += SILENT_AFTER
    bench.later()
    assert silent.is_open
    bench.now += 1.0
    bench.later()
    assert not silent.is_open
    bench.later()
    channel: FakeChannel = bench.connection.last
    bench.connection.open(channel)
    bench.loop.turn()
    assert channel is not silent
    assert len(channel.published) == 1
    channel.confirm(1)
    assert (bench.session.finished, bench.responder.refused) == (first + second, [])


def test_a_channel_over_which_a_queue_takes_nothing_is_given_up(bench: Bench) -> None:
    """On RabbitMQ 3.10 it never will, if its leader died when the channel was opened."""
    useless = bench.open()
    added = bench.add()
    useless.confirm(1, ack=False)
    assert not useless.is_open
    bench.later()
    channel: FakeChannel = bench.connection.last
    bench.connection.open(channel)
    bench.later()
    channel.confirm(1)
    assert (bench.session.finished, bench.responder.refused) == (added, [])
    bench.now += 10 * SILENT_AFTER
    bench.add()
    channel.confirm(2, ack=False)
    assert channel.is_open  # the queue is full


def test_nobody_is_looked_for_who_was_heard(bench: Bench) -> None:
    """A channel that confirms stays, however long it was since it was last used."""
    channel = bench.open()
    bench.add()
    channel.confirm(1)
    bench.now += 10 * SILENT_AFTER
    bench.later()
    assert channel.is_open
    assert bench.loop.later == []
