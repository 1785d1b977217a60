"""The calls in flight: which reply is whose, and what is sent when."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, StreamLostError

from idalloc_client import IdClient
from idalloc_client._errors import (
    AccessRefusedError,
    BusyError,
    ClientClosedError,
    IdAllocError,
    NoRouteError,
    QueueFullError,
)
from idalloc_client._memory import MemoryRestoredError, after_restore
from idalloc_client._rpc._pending_calls import CALM, PendingCalls
from idalloc_client._rpc._request_spec import RawReply, RequestSpec, alloc_request
from idalloc_client._rpc._route import NO_EXCHANGE, NO_OWNER, NO_WORKER_HERE
from idalloc_client._rpc._silent_channel import FIRST
from idalloc_client._stats._counters import ClientCounters
from idalloc_client._traces import Carrier
from idalloc_client.amqp._io._frames import Properties


@dataclass(eq=False)
class Call:
    """A caller."""

    deadline: float = 10.0
    spec: RequestSpec[Any] = field(default_factory=lambda: alloc_request("order", 1))
    carrier: Carrier | None = None
    shortcut: str | None = None
    outcomes: list[RawReply | IdAllocError] = field(default_factory=list)

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        self.outcomes.append(outcome)


class FakeMessageChannel:
    """A channel that keeps what was sent."""

    is_open = True
    server = "rabbitmq"

    def __init__(self) -> None:
        self.pika_channel = self
        self.sent: list[Properties] = []
        self.exchange = b""
        self.through: list[bytes] = []
        self.keys: list[bytes] = []
        self.on_confirm: Callable[[int, bool, bool], None] | None = None

    def confirm(self, on_confirm: Callable[[int, bool, bool], None]) -> None:
        self.on_confirm = on_confirm

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self.on_return = callback

    def close(self) -> None:
        self.is_open = False

    def consume(
        self,
        _queue: str,
        _tag: str,
        on_reply: Callable[..., None],
        on_listening: Callable[[], None],
        *,
        auto_ack: bool,
    ) -> None:
        assert auto_ack
        self.on_reply = on_reply
        self.on_listening = on_listening

    def publish(
        self,
        queue: bytes,
        properties: Properties,
        _body: bytes,
        *,
        mandatory: bool,
        exchange: bytes | None,
    ) -> None:
        assert mandatory
        self.sent.append(properties)
        self.keys.append(queue)
        self.through.append(self.exchange if exchange is None else exchange)

    def answer(self, number: int, body: bytes) -> None:
        properties = Properties(correlation_id=self.sent[number].correlation_id)
        self.on_reply(1, False, properties, body)  # noqa: FBT003  # as the real one

    def give_back(self, number: int) -> None:
        correlation_id = self.sent[number].correlation_id
        assert correlation_id is not None
        properties = SimpleNamespace(correlation_id=correlation_id.decode())
        key, exchange = self.keys[number].decode(), self.through[number].decode()
        method = SimpleNamespace(routing_key=key, exchange=exchange)
        self.on_return(self, method, properties, b"")


def pending_calls(clock: Callable[[], float] = time.monotonic, **options: Any) -> PendingCalls:
    client = IdClient("amqp://127.0.0.1:1/", **{"max_in_flight": 10, **options})
    return PendingCalls(client._options, ClientCounters(), clock=clock)


class Bench:
    """Pending calls, a clock, and the channel of now."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.calls = pending_calls(clock=lambda: self.now, **options)
        self.connect()

    def connect(self) -> None:
        """Hand it a channel, beside the one that it has if that was not lost."""
        self.channel = FakeMessageChannel()
        channel: Any = self.channel
        self.calls.on_ready(channel)
        self.channel.on_listening()

    def add(self, *calls: Call) -> list[bytes]:
        return [self.calls.add(call) for call in calls]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def bodies(call: Call) -> list[bytes]:
    return [outcome.body for outcome in call.outcomes if isinstance(outcome, RawReply)]


def test_a_reply_ends_the_call_that_it_answers(bench: Bench) -> None:
    """Whichever comes first; one that comes twice, or was not asked for, ends none."""
    first, second = Call(), Call()
    bench.add(first, second)
    bench.channel.answer(1, b"two")
    bench.channel.answer(1, b"two again")
    bench.channel.on_reply(1, False, Properties(correlation_id=b"who"), b"?")  # noqa: FBT003
    bench.channel.answer(0, b"one")
    assert (bodies(first), bodies(second)) == ([b"one"], [b"two"])
    assert bench.calls.counters.late_replies == 2


@pytest.mark.parametrize("user", [None, b"mallory", b""])
def test_a_reply_that_no_worker_sent_ends_nothing(user: bytes | None) -> None:
    """Where the caller knows whom to expect; the call waits on, and says why in the end."""
    bench = Bench(workers=["worker", "other-worker"])
    call = Call()
    (number,) = bench.add(call)
    forged = Properties(correlation_id=number, user_id=user)
    bench.channel.on_reply(1, False, forged, b"forged")  # noqa: FBT003
    assert call.outcomes == []
    assert bench.calls.counters.foreign_replies == 1
    assert "no user in `workers` sent" in str(bench.calls.overdue("id.alloc"))
    genuine = Properties(correlation_id=number, user_id=b"other-worker")
    bench.channel.on_reply(2, False, genuine, b"genuine")  # noqa: FBT003
    assert bodies(call) == [b"genuine"]


def test_a_late_reply_ends_nothing(bench: Bench) -> None:
    """The caller has gone; the next one's call is not its."""
    gone, waiting = Call(), Call()
    bench.calls.forget(bench.add(gone)[0])
    bench.add(waiting)
    bench.channel.answer(0, b"late")
    assert (gone.outcomes, waiting.outcomes) == ([], [])


def test_what_may_be_lost_is_sent_again(bench: Bench) -> None:
    """On the next connection, with the same correlation id and the time that is left."""
    call = Call()
    bench.add(call)
    bench.calls.on_lost(ConnectionResetError())
    bench.now = 4.0
    before = bench.channel
    bench.connect()
    assert [each.correlation_id for each in bench.channel.sent] == [before.sent[0].correlation_id]
    assert (before.sent[0].expiration, bench.channel.sent[0].expiration) == (b"10000", b"6000")


def test_nothing_leaves_past_its_deadline(bench: Bench) -> None:
    """The broker would drop it, or a worker would answer nobody."""
    bench.add(Call(deadline=1.0))
    bench.calls.on_lost(ConnectionResetError())
    bench.now = 1.0
    bench.connect()
    assert bench.channel.sent == []


def test_nothing_leaves_while_the_broker_does_not_read(bench: Bench) -> None:
    """It would leave out of date, once the broker reads again."""
    bench.calls.on_blocked(blocked=True)
    bench.add(Call())
    assert bench.channel.sent == []
    bench.calls.on_blocked(blocked=False)
    assert len(bench.channel.sent) == 1


def test_a_request_without_a_queue_ends_at_once(bench: Bench) -> None:
    """The broker gives it back; nobody waits for a reply that cannot come."""
    call = Call()
    bench.add(call)
    bench.channel.give_back(0)
    assert [type(outcome) for outcome in call.outcomes] == [NoRouteError]


def test_closing_ends_every_call(bench: Bench) -> None:
    """And those that come later."""
    before, after = Call(), Call()
    bench.add(before)
    bench.calls.close(ClientClosedError("closed"))
    bench.add(after)
    assert [type(outcome) for outcome in before.outcomes + after.outcomes] == 2 * [
        ClientClosedError
    ]


def test_a_reply_of_before_a_restore_ends_nothing(bench: Bench) -> None:
    """Another copy of this process may have had it; the call is asked again."""
    call = Call()
    bench.add(call)
    before = bench.channel
    after_restore()
    before.answer(0, b"of whom?")
    assert call.outcomes == []
    bench.calls.on_lost(MemoryRestoredError())
    bench.connect()
    bench.channel.answer(0, b"mine")
    assert bodies(call) == [b"mine"]


def test_a_request_that_may_be_lost_is_sent_once_more(bench: Bench) -> None:
    """A full queue drops without a word what left before the broker was asked to say so."""
    slow, other = Call(), Call()
    ids = bench.add(slow, other)
    assert bench.channel.on_confirm is None
    for _ in range(3):
        bench.calls.doubt(ids[0])
    assert [sent.correlation_id for sent in bench.channel.sent] == [*ids, ids[0]]
    later = Call()
    (last,) = bench.add(later)
    bench.calls.doubt(last)  # the broker will say of it
    assert len(bench.channel.sent) == 4


def test_a_channel_of_which_nothing_comes_is_given_up(bench: Bench) -> None:
    """RabbitMQ 3.10 may lose all that a channel sends to a quorum queue.

    All that waits is sent again on the next one, so each gets more time than the one before.
    """
    call = Call(deadline=1e9)
    (number,) = bench.add(call)
    for silence in (FIRST, 2 * FIRST):
        channel = bench.channel
        bench.calls.doubt(number)
        bench.now += silence - 0.01
        bench.calls.doubt(number)  # a copy may be due
        bench.calls.doubt(number)
        assert channel.is_open
        bench.now += 0.01
        bench.calls.doubt(number)
        bench.calls.doubt(number)
        assert not channel.is_open
        bench.calls.on_lost(ConnectionResetError())
        bench.connect()
    assert bench.channel.sent[0].correlation_id == number


def test_a_channel_whose_requests_are_taken_stays(bench: Bench) -> None:
    """Workers may be slow: that is no fault of the channel."""
    (number,) = bench.add(Call(deadline=1e9))
    bench.calls.doubt(number)
    assert bench.channel.on_confirm is not None
    bench.channel.on_confirm(1, False, True)  # noqa: FBT003
    bench.now += 100 * FIRST
    bench.calls.doubt(number)
    bench.calls.doubt(number)
    assert bench.channel.is_open


def a_doubted_call_that_came(bench: Bench) -> list[float]:
    """Have the broker asked; return when another channel was asked for."""
    renewals: list[float] = []
    bench.calls.renew = lambda: renewals.append(bench.now)
    (number,) = bench.add(Call(deadline=1e9))
    bench.calls.doubt(number)
    bench.channel.answer(0, b"late")
    return renewals


def test_after_a_while_of_calm_the_broker_is_asked_no_more(bench: Bench) -> None:
    """On a channel beside, as none can be taken back; what is in flight is answered on the old."""
    renewals = a_doubted_call_that_came(bench)
    between = Call(deadline=1e9)
    bench.add(between)
    for now in (CALM - 0.01, CALM, CALM + 0.01):
        bench.now = now
        bench.calls.look(now)
    assert renewals == [CALM]
    old = bench.channel
    bench.connect()
    after = Call(deadline=1e9)
    bench.add(after)
    assert (len(old.sent), len(bench.channel.sent)) == (3, 1)
    assert bench.channel.on_confirm is None
    bench.calls.look(bench.now)
    assert old.is_open
    old.answer(2, b"old")
    bench.calls.look(bench.now)
    assert not old.is_open
    bench.channel.answer(0, b"new")
    assert (bodies(between), bodies(after)) == ([b"old"], [b"new"])
    assert (bench.calls.counters.connects, bench.calls.counters.resent) == (1, 1)


def test_what_the_channel_before_is_told_concerns_none_of_the_next(bench: Bench) -> None:
    """Messages are numbered anew on each."""
    a_doubted_call_that_came(bench)
    refused, other = Call(deadline=1e9), Call(deadline=1e9)
    bench.add(refused)  # number 2, behind the copy
    old = bench.channel
    bench.connect()
    (number,) = bench.add(Call(deadline=1e9))
    bench.calls.doubt(number)  # number 1
    bench.add(other)  # number 2
    assert old.on_confirm is not None
    old.on_confirm(2, False, False)  # noqa: FBT003
    assert [type(outcome) for outcome in refused.outcomes] == [QueueFullError]
    assert other.outcomes == []
    assert bench.channel.on_confirm is not None
    bench.channel.on_confirm(2, False, False)  # noqa: FBT003
    assert [type(outcome) for outcome in other.outcomes] == [QueueFullError]


def test_an_idle_client_keeps_one_channel(bench: Bench) -> None:
    """Nobody looks any more where nothing is in flight."""
    a_doubted_call_that_came(bench)
    old = bench.channel
    bench.connect()
    assert (old.is_open, bench.channel.is_open) == (False, True)


def test_the_channel_before_is_closed_though_the_next_was_lost(bench: Bench) -> None:
    """Its calls are asked again; on a connection that lives it would stay open for good."""
    a_doubted_call_that_came(bench)
    old, call = bench.channel, Call(deadline=1e9)
    bench.add(call)
    bench.connect()
    bench.channel.close()
    bench.calls.on_lost(ChannelClosedByBroker(406, "PRECONDITION_FAILED"))
    bench.connect()
    assert (old.is_open, len(bench.channel.sent)) == (True, 1)
    bench.calls.look(bench.now)
    assert not old.is_open
    bench.channel.answer(0, b"again")
    assert bodies(call) == [b"again"]


@pytest.mark.parametrize("closed", ["before", "after"])
def test_what_was_sent_on_a_channel_that_ends_beside_another_is_sent_again(
    bench: Bench, closed: str
) -> None:
    """The link tells of the present channel only."""
    a_doubted_call_that_came(bench)
    old = bench.channel
    if closed == "before":  # it was asked to close, and has not answered yet
        old.close()
    bench.add(Call(deadline=1e9))
    bench.connect()
    old.close()
    bench.calls.look(bench.now)
    bench.calls.look(bench.now)
    assert len(bench.channel.sent) == 1


def test_a_channel_that_takes_nothing_is_given_up_though_the_one_before_did(bench: Bench) -> None:
    """What the broker still says of that one is no sign of life of this."""
    a_doubted_call_that_came(bench)
    bench.add(Call(deadline=1e9))  # number 2, behind the copy
    old = bench.channel
    bench.connect()
    (number,) = bench.add(Call(deadline=1e9))
    bench.calls.doubt(number)
    assert old.on_confirm is not None
    old.on_confirm(2, False, True)  # noqa: FBT003
    bench.now += FIRST
    for _ in range(3):
        bench.calls.doubt(number)
    assert not bench.channel.is_open


def test_that_the_broker_listens_late_on_the_channel_before_is_no_matter(bench: Bench) -> None:
    """It listens on the present one."""
    a_doubted_call_that_came(bench)
    first = bench.channel
    bench.connect()
    first.on_listening()
    (number,) = bench.add(Call(deadline=1e9))
    bench.calls.doubt(number)
    assert bench.channel.on_confirm is not None


def test_while_the_queue_is_full_the_broker_is_asked(bench: Bench) -> None:
    """Though nothing is doubted: callers hear at once that it took nothing."""
    renewals = a_doubted_call_that_came(bench)
    assert bench.channel.on_confirm is not None
    bench.add(Call(deadline=1e9))
    bench.now = CALM - 0.01
    bench.channel.on_confirm(2, False, False)  # noqa: FBT003
    bench.calls.look(bench.now + 0.02)
    assert renewals == []
    bench.calls.look(bench.now + CALM)
    assert len(renewals) == 1


def test_a_connection_that_one_more_channel_ended_does_without(bench: Bench) -> None:
    """A user may have a limit, which the broker enforces so."""
    renewals = a_doubted_call_that_came(bench)
    for _ in range(2):
        bench.now += CALM
        bench.calls.look(bench.now)
        bench.calls.on_lost(ConnectionClosedByBroker(530, "NOT_ALLOWED"))
        bench.connect()
        (number,) = bench.add(Call(deadline=1e9))
        bench.calls.doubt(number)
    assert len(renewals) == 1


def test_a_request_that_the_broker_does_not_take_ends_its_call(bench: Bench) -> None:
    """And no other one, whether the broker speaks of one message or of all before it."""
    first, *calls = (Call() for _ in range(5))
    ids = bench.add(first)
    bench.calls.doubt(ids[0])  # number 1
    bench.add(*calls)  # numbers 2 to 5
    assert bench.channel.on_confirm is not None
    bench.channel.on_confirm(1, False, True)  # noqa: FBT003
    bench.channel.on_confirm(3, False, False)  # noqa: FBT003
    bench.channel.on_confirm(4, True, False)  # noqa: FBT003
    bench.channel.on_confirm(4, True, False)  # noqa: FBT003
    bench.channel.on_confirm(5, False, True)  # noqa: FBT003
    refused = [call for call in (first, *calls) if call.outcomes]
    assert refused == [calls[0], calls[1], calls[2]]
    assert all(isinstance(call.outcomes[0], BusyError) for call in refused)


def test_a_copy_that_is_refused_leaves_the_request_where_it_is(bench: Bench) -> None:
    """It waits in the queue that is full by now, and is answered."""
    slow = Call()
    (number,) = bench.add(slow)
    bench.calls.doubt(number)
    assert bench.channel.on_confirm is not None
    bench.channel.on_confirm(1, False, False)  # noqa: FBT003
    bench.calls.doubt(number)
    assert (slow.outcomes, len(bench.channel.sent)) == ([], 2)
    assert isinstance(bench.calls.overdue("id.alloc"), QueueFullError)
    bench.channel.answer(0, b"mine")
    assert bodies(slow) == [b"mine"]


def test_nothing_is_doubted_while_an_answer_of_the_broker_is_outstanding(bench: Bench) -> None:
    """What is published would overtake the question, and its numbers be others."""
    bench.calls.on_lost(ConnectionResetError())
    call = Call()
    ids = bench.add(call)
    channel: Any = FakeMessageChannel()
    bench.calls.on_ready(channel)
    bench.calls.doubt(ids[0])
    assert channel.on_confirm is None
    channel.on_listening()
    bench.calls.doubt(ids[0])
    assert channel.on_confirm is not None


def test_where_no_worker_is_near_any_worker_is_asked() -> None:
    """What came back goes to the shared queue, and so does the next for a while."""
    bench = Bench(exchange="id.local")
    first, second, third = (Call(deadline=1e9) for _ in range(3))
    bench.add(first)
    bench.channel.give_back(0)
    bench.add(second)
    bench.now = NO_WORKER_HERE
    bench.add(third)
    assert bench.channel.through == [b"id.local", b"", b"", b"id.local"]
    assert first.outcomes == []
    bench.channel.give_back(1)
    assert isinstance(first.outcomes[0], NoRouteError)


@pytest.mark.parametrize("code", [403, 404])
def test_an_exchange_for_near_workers_that_is_no_use_is_done_without(code: int) -> None:
    """A cluster may have none, or a caller no right to it; it is tried again some time."""
    bench = Bench(exchange="id.local")
    call = Call(deadline=1e9)
    bench.add(call)
    bench.calls.on_lost(ChannelClosedByBroker(code, "... exchange 'id.local' in vhost '/'"))
    bench.connect()
    assert bench.channel.through == [b""]
    bench.now = NO_EXCHANGE
    bench.add(Call(deadline=1e9))
    assert bench.channel.through == [b"", b"id.local"]
    assert call.outcomes == []


def test_what_is_sent_again_goes_to_any_worker() -> None:
    """The one that is near may be frozen, and have the request already."""
    bench = Bench(exchange="id.local")
    (number,) = bench.add(Call())
    bench.calls.doubt(number)
    assert bench.channel.through == [b"id.local", b""]


def test_requests_go_to_the_exchange_that_is_named() -> None:
    """And it is named where it is missing, or may not be written to."""
    calls = pending_calls(exchange="id.requests")
    channel: Any = FakeMessageChannel()
    for code, kind in ((403, AccessRefusedError), (404, NoRouteError)):
        calls.on_ready(channel)
        assert channel.exchange == b"id.requests"
        call = Call(deadline=1e9)
        calls.add(call)
        calls.on_lost(ChannelClosedByBroker(code, "no"))
        (error,) = call.outcomes
        assert isinstance(error, kind)
        assert "id.requests" in str(error)


def test_without_the_right_to_send_calls_end_until_there_is_a_channel() -> None:
    """Those in flight, and those that come while the next channel is waited for."""
    pending = pending_calls()
    calls = [Call(deadline=1e12) for _ in range(3)]
    pending.add(calls[0])
    pending.on_lost(ChannelClosedByBroker(403, "ACCESS_REFUSED - write access refused"))
    pending.add(calls[1])
    assert [type(call.outcomes[0]) for call in calls[:2]] == [AccessRefusedError] * 2
    pending.on_lost(StreamLostError())  # that says nothing about rights: they wait for a connection
    pending.add(calls[2])
    assert not calls[2].outcomes
    assert len(pending) == 1


class FakeCarrier:
    """Takes a context along, and notes where it goes."""

    def __init__(self) -> None:
        self.headers: Mapping[str, str] | None = {"traceparent": "00-1-2-01"}
        self.ways: list[tuple[bytes, str, str]] = []

    def sent(self, correlation_id: bytes, server: str, exchange: str) -> None:
        self.ways.append((correlation_id, server, exchange))

    def finished(self, error: Exception | None) -> None:
        """Nobody answers here."""


def test_whoever_follows_a_request_hears_each_time_that_it_leaves() -> None:
    """Where to, and under which correlation id: over a lost connection it leaves twice."""
    bench = Bench()
    carrier = FakeCarrier()
    (correlation_id,) = bench.add(Call(carrier=carrier))
    bench.calls.on_lost(StreamLostError())
    bench.connect()
    assert carrier.ways == [(correlation_id, "rabbitmq", "")] * 2
    assert bench.channel.sent[-1].headers == carrier.headers


def test_a_context_that_cannot_travel_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs the trace, and neither the call, nor the connection that others use."""
    publish = FakeMessageChannel.publish

    def refuse_headers(channel: FakeMessageChannel, *about: Any, **more: Any) -> None:
        if about[1].headers:
            raise ValueError("too long for a frame")
        publish(channel, *about, **more)

    monkeypatch.setattr(FakeMessageChannel, "publish", refuse_headers)
    bench = Bench()
    carrier = FakeCarrier()
    bench.add(Call(carrier=carrier))
    assert [sent.headers for sent in bench.channel.sent] == [None]
    assert carrier.headers is None
    assert len(carrier.ways) == 1


OWNERS = "id.ordered.5"


def test_a_request_may_go_to_its_tags_owner(bench: Bench) -> None:
    """If that is known; what is sent again goes to any worker, as others do for a while."""
    call = Call(deadline=100.0, shortcut=OWNERS)
    (number,) = bench.add(call)
    assert bench.channel.keys == [b"id.ordered.5"]
    bench.now = 1.0
    bench.calls.doubt(number)
    assert bench.channel.keys == [b"id.ordered.5", b"id.alloc"]
    bench.add(Call(deadline=100.0, shortcut=OWNERS))
    bench.now += NO_OWNER
    bench.add(Call(deadline=100.0, shortcut=OWNERS))
    assert bench.channel.keys[2:] == [b"id.alloc", b"id.ordered.5"]
    bench.channel.answer(1, b"the answer to either")
    assert len(call.outcomes) == 1


@pytest.mark.parametrize("exchange", ["id.requests", "id.local"])
def test_an_operator_may_say_where_requests_go(exchange: str) -> None:
    """A user who may write to one exchange only would lose its channel at another."""
    bench = Bench(exchange=exchange)
    bench.add(Call(shortcut=OWNERS))
    assert (bench.channel.keys, bench.channel.through) == ([b"id.alloc"], [exchange.encode()])


def test_an_owners_queue_may_have_gone(bench: Bench) -> None:
    """What comes back goes to any worker; if that comes back too, its caller hears of it."""
    call = Call(shortcut=OWNERS)
    bench.add(call)
    bench.channel.give_back(0)
    assert (bench.channel.keys, call.outcomes) == ([b"id.ordered.5", b"id.alloc"], [])
    bench.channel.give_back(1)
    (error,) = call.outcomes
    assert isinstance(error, NoRouteError)


def test_an_owners_queue_may_be_full(bench: Bench) -> None:
    """What it did not take goes to any worker, once."""
    doubted, call = Call(deadline=100.0), Call(deadline=100.0, shortcut=OWNERS)
    (number,) = bench.add(doubted)
    bench.now = 1.0
    bench.calls.doubt(number)
    assert bench.channel.on_confirm is not None
    bench.add(call)
    assert bench.channel.keys[-1] == b"id.ordered.5"
    bench.channel.on_confirm(2, False, False)  # noqa: FBT003  # the copy was the first
    assert (bench.channel.keys[-1], call.outcomes) == (b"id.alloc", [])
    bench.channel.on_confirm(3, False, False)  # noqa: FBT003
    (error,) = call.outcomes
    assert isinstance(error, QueueFullError)


def test_an_owners_queue_says_twice_that_it_is_gone(bench: Bench) -> None:
    """A request that went there twice is with any worker after the first word, and goes on."""
    call = Call(shortcut=OWNERS)
    bench.add(call)
    bench.calls.on_blocked(blocked=True)
    bench.calls.on_blocked(blocked=False)
    for number in (0, 1):
        bench.channel.give_back(number)
    assert bench.channel.keys == [b"id.ordered.5", b"id.ordered.5", b"id.alloc"]
    assert not call.outcomes


def test_an_owners_queue_says_late_that_it_is_full(bench: Bench) -> None:
    """A request that is with any worker by then goes on."""
    doubted, call = Call(deadline=100.0), Call(deadline=100.0, shortcut=OWNERS)
    (number,) = bench.add(doubted)
    bench.now = 1.0
    bench.calls.doubt(number)
    (number,) = bench.add(call)
    for bench.now in (1.2, 2.0):
        bench.calls.doubt(number)
    assert bench.channel.keys[-2:] == [b"id.ordered.5", b"id.alloc"]
    assert bench.channel.on_confirm is not None
    bench.channel.on_confirm(2, False, False)  # noqa: FBT003
    assert not call.outcomes


def test_an_owner_that_reads_nothing_delays_any_number_of_requests_once() -> None:
    """All of them go to any worker, more than copies are sent of late ones."""
    bench = Bench(max_in_flight=1000)
    numbers = bench.add(*(Call(deadline=100.0, shortcut=OWNERS) for _ in range(1000)))
    for bench.now in (0.2, 0.5):
        for number in numbers:
            bench.calls.doubt(number)
    assert bench.channel.keys[1000:] == [b"id.alloc"] * 1000
