"""A worker's part in the fleet, with a broker that does what the test says."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest

from idalloc_schemas import Alive, Echo, Hello, Marks, Reserved, Surrendered, parse_fleet_message
from idalloc_worker.counters._registry import Event
from idalloc_worker.fleet import _fleet
from idalloc_worker.fleet._fleet import Fleet
from idalloc_worker.marks import _memory as _fleet_memory
from idalloc_worker.marks._snapshot_log import EVERY, SnapshotLog
from idalloc_worker.marks._vouching import Vouching
from idalloc_worker.tags._segment import Segment
from tests.vouched import logged_in

Callback = Callable[[], None]


class FakeChannel:
    """Keeps what is published until the test confirms it."""

    def __init__(self, bench: "Bench") -> None:
        self.bench = bench
        self.connection = object()
        self.outbox: deque[tuple[bytes, Callback]] = deque()
        self.sent: list[tuple[str, bytes]] = []
        self.restarts = self.worked = 0
        self.waiting_since = float("inf")

    def connect(self, _connection: Any) -> None:
        self.bench.fleet.on_fleet_open("id.fleet.mine")

    def disconnect(self) -> None:
        self.outbox.clear()

    def publish(self, body: bytes, on_confirmed: Callback) -> None:
        self.outbox.append((body, on_confirmed))
        self.waiting_since = min(self.waiting_since, self.bench.now)

    def send(self, queue: str, body: bytes) -> None:
        self.sent.append((queue, body))

    def works(self) -> None:
        self.worked += 1

    def restart(self, _reason: str) -> None:
        self.restarts += 1


class FakeStream:
    """Is read by the test."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.starts: list[int] = []

    def open(self, _connection: Any) -> None:
        self.opened += 1

    def read_from(self, offset: int) -> None:
        self.starts.append(offset)

    def close(self, on_closed: Callback = lambda: None) -> None:
        self.closed += 1
        on_closed()


class Bench:
    """A fleet of one, its clock and its broker; it is also the worker that the fleet belongs to."""

    def __init__(self, max_age: float | None = None) -> None:
        self.now = 100.0
        self.wall = 1_000_000.0
        self.timers: list[tuple[float, Callback]] = []
        self.counters = Counter[Event]()
        self.held: tuple[int, int] | None = None
        self.set_back: list[str] = []
        self.settled = 0
        loop: Any = self  # its channel is played, and asks for no channel
        self.fleet = Fleet(
            self.counters,
            loop,
            name="w",
            users=logged_in(),
            owner=self,
            vouching=Vouching(max_age, lambda: self.wall),
            clock=lambda: self.now,
        )
        self.channel: FakeChannel = self.fleet._channel  # type: ignore[assignment]
        self.memory = self.fleet.memory
        self.stream: FakeStream = self.memory.stream  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Callback) -> Any:
        self.timers.append((self.now + delay, callback))
        return None

    def on_health_call(self, _call: Any) -> None:
        raise NotImplementedError

    def on_foreign_claim(self, _tag: str, left: int, right: int) -> tuple[int, int] | None:
        held, overlaps = self.held, self.held and left < self.held[1] and self.held[0] < right
        if overlaps:
            self.held = None
            return held
        return None

    def on_memory_set_back(self, why: str) -> None:
        self.set_back.append(why)

    def connect(self) -> None:
        self.fleet.connect(object(), self._on_settled)

    def _on_settled(self) -> None:
        self.settled += 1

    def confirm(self, *, bound: bool = True) -> list[bytes]:
        """Confirm what was published, and have it come to the worker's own queue first."""
        bodies = []
        while self.channel.outbox:
            body, on_confirmed = self.channel.outbox.popleft()
            bodies.append(body)
            if bound:
                self.fleet.on_fleet_message(body, from_fleet=True)
            self.channel.waiting_since = self.now if self.channel.outbox else float("inf")
            on_confirmed()
        return bodies

    def echo(self) -> None:
        sent, self.channel.sent = self.channel.sent, []
        for queue, body in sent:
            assert queue == "id.fleet.mine"
            self.fleet.on_fleet_message(body, from_fleet=False)

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= until]:
            first = min(due, key=lambda timer: timer[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = until

    def read(self, *stored: bytes, end: int = 100, first: tuple[int, bytes] | None = None) -> None:
        """Let the stream be read: these messages, then the worker's own."""
        self.memory.on_stream_open()
        sentinel = self.channel.outbox[-1][0]
        self.confirm()
        self.memory.on_stream_message(sentinel, end, from_fleet=True)
        if first is not None:
            self.memory.on_stream_message(first[1], first[0], from_fleet=True)
        for offset, body in enumerate(stored, end - len(stored)):
            self.memory.on_stream_message(body, offset, from_fleet=True)
        self.memory.on_stream_message(sentinel, end, from_fleet=True)

    def join(self, *stored: bytes) -> None:
        """Come to where segments are claimed."""
        self.connect()
        self.confirm()
        self.read(*(stored or [snapshot()]))
        self.pass_time(0.3)
        self.confirm()


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _fleet, "FleetChannel", lambda handler, *_a, **_k: FakeChannel(handler._owner)
    )
    monkeypatch.setattr(_fleet_memory, "CarefulStream", lambda *_a, **_k: FakeStream())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def snapshot(*entries: tuple[str, str, int], worker: str = "other", part: int = 0) -> bytes:
    return Marks(worker=worker, entries=list(entries), part=part).encode()


def claim_of(worker: str, left: int, right: int, at: int | None = None) -> bytes:
    return Reserved(worker=worker, app_tag="order", left=left, right=right, at=at).encode()


def types(bodies: list[bytes]) -> list[str]:
    return [getattr(parse_fleet_message(body), "type", "") for body in bodies]


def claim(bench: Bench, left: int, right: int) -> list[bool]:
    outcome: list[bool] = []
    watch = bench.fleet.marks.watch("order")
    bench.fleet.claim(watch, Segment(left, right), outcome.append)
    return outcome


def test_nothing_is_claimed_before_the_stream_is_read(bench: Bench) -> None:
    """What a dead worker said counts, though nobody lives who heard it."""
    bench.connect()
    assert not bench.fleet.able
    bench.confirm()
    able: list[int] = []
    bench.fleet.when_able(lambda: able.append(bench.fleet.marks.mark("order")))
    bench.read(snapshot(("order", "dead", 50)), claim_of("dead", 50, 70))
    assert not able
    bench.pass_time(0.3)
    assert (able, bench.settled, bench.memory.in_broker) == ([70], 1, True)


def test_the_others_are_not_asked_for_what_the_stream_holds(bench: Bench) -> None:
    """Many that start together would answer each other at length."""
    bench.connect()
    bench.confirm()
    bench.read(snapshot(("order", "dead", 50)))
    bench.pass_time(0.3)
    assert "hello" not in types(bench.confirm())


def test_only_what_came_through_the_exchange_counts(bench: Bench) -> None:
    """Anybody may write into the stream, also what looks like the end that is looked for."""
    bench.connect()
    bench.confirm()
    bench.memory.on_stream_open()
    sentinel = bench.channel.outbox[-1][0]
    bench.memory.on_stream_message(sentinel, 9, from_fleet=False)
    bench.memory.on_stream_message(claim_of("dead", 10, 20), 10, from_fleet=True)
    assert bench.stream.starts == []
    bench.memory.on_stream_message(sentinel, 12, from_fleet=True)
    assert bench.stream.starts == [0]
    bench.memory.on_stream_message(snapshot(), 9, from_fleet=True)
    bench.memory.on_stream_message(claim_of("forger", 10, 9000), 11, from_fleet=False)
    assert bench.memory.in_broker is None  # not read to its end
    bench.memory.on_stream_message(sentinel, 12, from_fleet=True)
    bench.pass_time(0.3)
    assert bench.fleet.able
    assert bench.fleet.marks.mark("order") == 0


def test_each_reading_ends_at_a_message_of_its_own(bench: Bench) -> None:
    """That of an earlier one has been in the stream for long."""
    bench.connect()
    bench.confirm()
    bench.memory.on_stream_open()
    before = bench.channel.outbox[-1][0]
    bench.fleet.disconnect()
    bench.connect()
    bench.confirm()
    bench.memory.on_stream_open()
    bench.memory.on_stream_message(before, 50, from_fleet=True)
    assert bench.stream.starts == []


def test_a_stream_that_is_another_one_is_read_anew(bench: Bench) -> None:
    """It was deleted meanwhile: where this worker was says nothing."""
    bench.join()
    bench.fleet.disconnect()
    bench.connect()
    bench.confirm()
    bench.read(snapshot(("order", "dead", 50)), end=30)
    assert bench.stream.starts == [0, 0]
    assert bench.fleet.marks.mark("order") == 50


def test_what_is_on_its_way_is_waited_for(bench: Bench) -> None:
    """Some that were told when this worker had no queue yet come into the stream a bit later."""
    bench.connect()
    bench.confirm()
    bench.read(snapshot())
    bench.pass_time(0.05)
    assert not bench.fleet.able
    bench.memory.on_stream_message(claim_of("other", 10, 20), 101, from_fleet=True)
    bench.pass_time(0.1)
    assert bench.fleet.able
    assert bench.fleet.marks.mark("order") == 20


def test_a_slow_broker_is_given_more_time_for_what_is_on_its_way(bench: Bench) -> None:
    """As long again as it took for the greeting."""
    bench.connect()
    bench.pass_time(0.7)
    bench.confirm()
    bench.pass_time(0.2)
    bench.read(snapshot())
    bench.pass_time(0.45)
    assert not bench.fleet.able
    bench.pass_time(0.1)
    assert bench.fleet.able


def test_an_answer_to_a_hello_is_no_snapshot(bench: Bench) -> None:
    """It went to one worker, and is not in the stream: whoever reads that needs a whole one."""
    bench.connect()
    bench.confirm()
    answer = Marks(worker="other", entries=[("order", "dead", 50)]).encode()
    bench.read(answer, end=1_000_000)
    assert bench.stream.starts == [960_000, 0]


def test_a_stream_without_a_snapshot_gets_one(bench: Bench) -> None:
    """From one of those that find it so."""
    bench.connect()
    bench.confirm()
    bench.read(claim_of("dead", 10, 20))
    bench.confirm()
    bench.memory._log = SnapshotLog()  # what it told of itself was lost, say
    bench.pass_time(0.3)
    bench.pass_time(2.0)
    told = [parse_fleet_message(body) for body in bench.confirm()]
    assert [one.part for one in told if isinstance(one, Marks)] == [0]


def test_what_was_said_on_the_channel_before_may_still_be_heard(bench: Bench) -> None:
    """It is no copy that speaks."""
    bench.join()
    claim(bench, 10, 20)
    (body, _) = bench.channel.outbox[-1]
    bench.fleet.on_fleet_lost()
    bench.channel.outbox.clear()
    bench.fleet.on_fleet_open("id.fleet.mine")
    bench.fleet.on_fleet_message(body, from_fleet=True)
    assert bench.set_back == []


def test_a_stream_without_a_whole_snapshot_is_read_from_its_beginning(bench: Bench) -> None:
    """And if there is none at all, the others are asked, and it gets one."""
    bench.connect()
    bench.confirm()
    bench.read(snapshot(("order", "dead", 50), part=1), end=1_000_000)  # its first part is gone
    assert bench.stream.starts == [960_000, 0]
    bench.memory.on_stream_message(claim_of("dead", 60, 70), 999_999, from_fleet=True)
    bench.memory.on_stream_message(b"{}", 1_000_000, from_fleet=True)
    told = [parse_fleet_message(body) for body in bench.confirm()]
    assert isinstance(told[0], Hello)
    assert not bench.fleet.able
    bench.pass_time(0.3)
    assert bench.fleet.able
    assert any(isinstance(one, Marks) and one.part == 0 for one in told)


def test_answers_are_for_those_who_have_asked(bench: Bench) -> None:
    """Whoever may write to the default exchange, and knows the queue, could move every row."""
    bench.join(snapshot(("order", "dead", 50)))
    forged = Marks(worker="nobody", entries=[("order", "nobody", 2**62)]).encode()
    bench.fleet.on_fleet_message(forged, from_fleet=False)
    assert bench.fleet.marks.mark("order") == 50


def test_what_others_reserve_counts_only_through_the_exchange(bench: Bench) -> None:
    """So does what they surrender: a queue's name is no secret."""
    bench.join(snapshot(("order", "dead", 50)))
    surrendered = Surrendered(worker="dead", app_tag="order", left=10, right=50, rest=0)
    for forged in (claim_of("rival", 60, 2**62), surrendered.encode()):
        bench.fleet.on_fleet_message(forged, from_fleet=False)
        assert bench.fleet.marks.mark("order") == 50
    bench.fleet.on_fleet_message(claim_of("rival", 60, 70), from_fleet=True)
    assert bench.fleet.marks.mark("order") == 70


def test_where_there_is_no_stream_the_others_are_asked(bench: Bench) -> None:
    """It is said once and counted; later the stream is tried again, beside the work."""
    bench.connect()
    bench.confirm()
    bench.memory.on_stream_refused("access refused")
    assert types(bench.confirm()) == ["hello"]
    bench.pass_time(0.3)
    assert bench.fleet.able
    assert (bench.memory.in_broker, bench.counters[Event.MARKS_UNREAD]) == (False, 1)
    bench.pass_time(130)
    assert bench.stream.opened == 2
    bench.read(snapshot(("order", "dead", 50)))
    assert bench.memory.in_broker
    assert bench.fleet.marks.mark("order") == 50


def test_after_a_reconnect_only_what_is_new_is_read(bench: Bench) -> None:
    """And what this worker reserved last is said again: a broker that crashed may have lost it."""
    bench.join()
    outcome = claim(bench, 10, 20)
    bench.confirm()
    bench.echo()
    assert outcome == [True]
    bench.fleet.disconnect()
    bench.connect()
    bench.confirm()
    known = Echo(worker=bench.fleet.key, number=-1).encode()
    stored = claim_of(bench.fleet.key, 10, 20), claim_of("other", 20, 30)
    bench.read(*stored, end=500, first=(100, known))
    assert bench.stream.starts == [0, 100]
    told = [parse_fleet_message(body) for body in bench.confirm()]
    assert [one.entries for one in told if isinstance(one, Marks)] == [
        [("order", bench.fleet.key, 20)]
    ]
    assert bench.fleet.marks.mark("order") == 30
    assert bench.set_back == []


def test_a_stream_that_is_refused_is_tried_ever_more_rarely(bench: Bench) -> None:
    """Also over other connections: an attempt may cost one, where a user may open few channels."""
    for _ in range(7):
        bench.fleet.disconnect()
        bench.channel.connection = object()
        bench.connect()
        bench.confirm()
        bench.memory.on_stream_refused("access refused")
    opened = []
    for _ in range(10):
        for _ in range(15):
            bench.pass_time(60)
            bench.confirm()
        opened.append(bench.stream.opened)
    assert opened[3] == opened[0]
    assert opened[9] > opened[0]


@pytest.mark.parametrize("first", [(100, b"of another stream"), (101, b"the rest was cut off")])
def test_another_stream_is_read_from_its_beginning(bench: Bench, first: tuple[int, bytes]) -> None:
    """What lies below the place that this worker knows was never read, or is lost."""
    bench.join()
    bench.fleet.disconnect()
    bench.connect()
    bench.confirm()
    bench.read(end=500, first=first)
    assert bench.stream.starts == [0, 100, 0]


def test_a_reconnect_reads_no_more_than_a_start(bench: Bench) -> None:
    """A worker that has run for a month has not read for a month."""
    bench.join(snapshot(("order", "dead", 50)))
    bench.fleet.disconnect()
    bench.connect()
    bench.confirm()
    bench.read(snapshot(("order", "dead", 60)), end=900_000)
    assert bench.stream.starts == [0, 860_000]
    assert bench.fleet.marks.mark("order") == 60


def test_what_was_dropped_from_its_queue_is_read_in_the_stream(bench: Bench) -> None:
    """Wherever it has seen the stream's end meanwhile: what it did not hear may lie before that."""
    bench.join()
    outcome = claim(bench, 10, 20)
    bench.confirm()
    bench.fleet.on_fleet_gap()
    bench.fleet.on_fleet_lost()
    bench.echo()
    assert (outcome, bench.fleet.able) == ([], False)
    bench.fleet.on_fleet_open("id.fleet.mine")
    bench.confirm()
    bench.read(snapshot(), claim_of("rival", 15, 25), end=101)
    bench.pass_time(1)
    bench.confirm()
    bench.echo()
    assert bench.stream.starts == [0, 0]
    assert (outcome, bench.counters[Event.FLEET_GAPS]) == ([False], 1)


def test_a_worker_that_does_not_hear_itself_uses_nothing(bench: Bench) -> None:
    """Somebody deleted the exchange, and another worker made it anew: nobody's claims come."""
    bench.join()
    outcome = claim(bench, 10, 20)
    bench.confirm(bound=False)
    bench.echo()
    assert (outcome, bench.channel.restarts) == ([], 1)
    bench.fleet.on_fleet_lost()
    bench.fleet.on_fleet_open("id.fleet.mine")
    bench.confirm()
    known = Echo(worker=bench.fleet.key, number=-1).encode()
    bench.read(claim_of("rival", 15, 25), end=500, first=(100, known))
    bench.pass_time(1)
    bench.confirm()
    bench.echo()
    assert (outcome, bench.channel.restarts) == ([False], 1)


def test_a_worker_that_hears_nobody_notices_without_a_claim(bench: Bench) -> None:
    bench.join()
    bench.pass_time(10)
    assert types(bench.confirm(bound=False)) == ["alive"]
    bench.pass_time(121)
    assert bench.channel.restarts == 1


@pytest.mark.parametrize(("end", "told"), [(103, False), (50_000, True), (3, True)])
def test_the_stream_is_looked_after(bench: Bench, end: int, told: bool) -> None:  # noqa: FBT001
    """Where somebody fills it, or it was deleted, what is known is written down again."""
    bench.join(snapshot(("order", "dead", 50)))
    bench.pass_time(10)
    assert bench.stream.opened == 2
    bench.confirm()
    bench.memory.on_stream_open()
    sentinel = bench.channel.outbox[-1][0]
    bench.confirm()
    bench.memory.on_stream_message(sentinel, end, from_fleet=True)
    assert types(bench.confirm()) == (["marks"] if told else [])
    assert bench.memory.in_broker


def test_a_claim_waits_for_all_to_have_heard_it_and_to_be_heard(bench: Bench) -> None:
    """Of two that claim the same ids at least one hears the other in time."""
    bench.join()
    outcome = claim(bench, 10, 20)
    bench.echo()
    assert outcome == []  # not confirmed
    bench.confirm()
    assert outcome == []  # its own queue is not read
    bench.fleet.on_fleet_message(claim_of("rival", 15, 25), from_fleet=True)
    bench.echo()
    assert outcome == [False]


def test_nothing_is_begun_while_the_broker_is_silent(bench: Bench) -> None:
    """A claim without an answer loses its segment once, not one after the other."""
    bench.join()
    outcome = claim(bench, 10, 20)
    bench.pass_time(1.5)
    begun: list[int] = []
    bench.fleet.when_able(lambda: begun.append(1))
    assert not begun
    bench.confirm()
    assert begun == [1]
    bench.pass_time(1.5)  # its own queue is slow
    bench.fleet.when_able(lambda: begun.append(2))
    assert (begun, outcome) == ([1], [])
    bench.echo()
    assert (begun, outcome) == ([1, 2], [True])


def test_a_broker_that_never_confirms_is_done_without(bench: Bench) -> None:
    """Ids first: another channel, then no protection, and no flood of attempts."""
    bench.join()
    outcome = claim(bench, 10, 20)
    bench.pass_time(7)
    assert bench.channel.restarts == 1
    bench.fleet.on_fleet_lost()
    bench.channel.outbox.clear()
    bench.channel.waiting_since = float("inf")
    bench.fleet.on_fleet_open("id.fleet.mine")
    assert outcome == []
    bench.pass_time(7)
    assert not bench.fleet.unprotected  # it may be an accident
    bench.fleet.on_fleet_lost()
    bench.channel.outbox.clear()
    bench.channel.waiting_since = float("inf")
    bench.fleet.on_fleet_open("id.fleet.mine")
    bench.pass_time(7)
    assert (outcome, bench.fleet.unprotected, bench.fleet.able) == ([True], True, True)
    assert bench.counters[Event.FLEET_REFUSED] == 1
    bench.confirm()  # it comes back to life
    assert not bench.fleet.unprotected


def test_a_queue_that_takes_nothing_is_done_without(bench: Bench) -> None:
    """Not even a greeting comes through: what cannot be claimed is used unprotected."""
    bench.connect()
    for _ in range(5):
        assert not bench.fleet.able  # one that is refused may be an accident
        bench.fleet.on_fleet_nacked()
        bench.fleet.on_fleet_lost()
        bench.fleet.on_fleet_open("id.fleet.mine")
    assert (bench.fleet.unprotected, bench.settled) == (True, 1)
    bench.fleet.on_fleet_open("id.fleet.mine")
    bench.fleet.on_fleet_nacked()
    assert bench.counters[Event.FLEET_REFUSED] == 1


def test_refusals_that_are_far_between_are_accidents(bench: Bench) -> None:
    """A greeting that comes through makes the next refusal a first one."""
    bench.connect()
    for _ in range(3):
        for _ in range(4):
            bench.fleet.on_fleet_nacked()
            assert not bench.fleet.unprotected
            bench.fleet.on_fleet_lost()
            bench.channel.outbox.clear()
            bench.fleet.on_fleet_open("id.fleet.mine")
        bench.confirm()
        bench.fleet.on_fleet_lost()
        bench.fleet.on_fleet_open("id.fleet.mine")


def test_an_overlap_is_told_to_both(bench: Bench) -> None:
    """The hearer has given up what it holds, and says what it had."""
    bench.join()
    bench.held = (10, 20)
    bench.fleet.on_fleet_message(claim_of("rival", 20, 30), from_fleet=True)
    assert bench.held
    bench.fleet.on_fleet_message(claim_of("rival", 15, 30), from_fleet=True)
    assert bench.counters[Event.OVERLAPS_HEARD] == 1
    (told,) = [parse_fleet_message(body) for body in bench.confirm()]
    assert isinstance(told, Reserved)
    assert (told.worker, told.left, told.right) == (bench.fleet.key, 10, 20)
    bench.fleet.on_fleet_message(claim_of("rival", 15, 30), from_fleet=True)
    assert not bench.channel.outbox  # no end of it otherwise


def test_its_own_messages_are_no_copy(bench: Bench) -> None:
    """Each comes back once; a second one, or one that was never sent, is somebody else's."""
    bench.join()
    claim(bench, 10, 20)
    (body,) = bench.confirm()
    assert bench.set_back == []
    bench.fleet.on_fleet_message(body, from_fleet=True)
    assert len(bench.set_back) == 1
    hello = Hello(worker=bench.fleet.key, reply_to="id.fleet.of-a-copy").encode()
    bench.fleet.on_fleet_message(hello, from_fleet=True)
    assert len(bench.set_back) == 2
    bench.fleet.marks.renew_key()
    bench.fleet.on_fleet_message(body, from_fleet=True)  # another worker's by now
    assert len(bench.set_back) == 2


def test_a_claim_that_it_has_forgotten_shows_that_it_is_a_copy(bench: Bench) -> None:
    """Its memory is older than what it said itself: it was restored from a snapshot."""
    bench.join()
    claim(bench, 10, 20)
    bench.confirm()
    bench.fleet.disconnect()
    bench.connect()
    bench.confirm()
    bench.read(claim_of(bench.fleet.key, 10, 20), claim_of(bench.fleet.key, 20, 30), end=500)
    assert len(bench.set_back) == 1


def test_a_snapshot_is_due_from_time_to_time(bench: Bench) -> None:
    """However many messages there were, the last whole one is not far back; one part at a time."""
    entries = [(f"tag-{number}", "dead", 7) for number in range(1200)]
    bench.join(snapshot(*entries))
    for number in range(2 * EVERY):
        if bench.channel.outbox:
            break
        bench.fleet.on_fleet_message(claim_of("other", number, number + 1), from_fleet=True)
    assert number >= EVERY
    told = []
    while bench.channel.outbox:
        (body, on_confirmed) = bench.channel.outbox.popleft()
        assert not bench.channel.outbox
        bench.fleet.on_fleet_message(body, from_fleet=True)
        told.append(parse_fleet_message(body))
        on_confirmed()
    parts = [one for one in told if isinstance(one, Marks)]
    assert [one.part for one in parts] == [0, 1, 2]
    assert [one.more for one in parts] == [True, True, False]
    assert len({entry[0] for one in parts for entry in one.entries}) == 1201
    bench.fleet.on_fleet_message(claim_of("other", 1, 2), from_fleet=True)
    assert not bench.channel.outbox  # the next one is far


def test_whoever_knows_all_marks_says_so(bench: Bench) -> None:
    """Once a minute or two, unless another one has said it."""
    bench.join()
    bench.pass_time(10)
    assert types(bench.confirm()) == ["alive"]
    for _ in range(10):
        bench.pass_time(30)
        alive = Alive(worker="other", at=int(bench.wall)).encode()
        bench.fleet.on_fleet_message(alive, from_fleet=True)
        assert bench.confirm() == []
    bench.pass_time(121)
    assert types(bench.confirm()) == ["alive"]


def test_old_marks_are_not_relied_on_where_that_is_asked_for() -> None:
    """Neither is it said then that somebody knows them all; a recent claim is good for its tag."""
    bench = Bench(max_age=300)
    old = Alive(worker="dead", at=int(bench.wall) - 301).encode()
    bench.join(snapshot(("order", "dead", 50)), old, claim_of("x", 50, 60, at=int(bench.wall) - 9))
    vouching = bench.fleet.vouching
    assert not vouching.for_all
    assert (vouching.vouches_for("order"), vouching.vouches_for("other")) == (True, False)
    bench.pass_time(200)
    assert bench.confirm() == []
    assert not vouching.raised("other", 700)
    assert not vouching.raised("other", 700)
    assert vouching.raised("other", 701)
    assert vouching.vouches_for("other")
    assert not vouching.vouches_for("third")


def test_recent_marks_are_relied_on() -> None:
    """Some worker that knew all of them ran a moment ago."""
    bench = Bench(max_age=300)
    bench.join(snapshot(), Alive(worker="dead", at=int(bench.wall) - 299).encode())
    assert bench.fleet.vouching.for_all


def test_a_clock_that_was_ahead_vouches_for_nobody() -> None:
    """It would do so until that time has come."""
    bench = Bench(max_age=300)
    bench.join(snapshot(), Alive(worker="dead", at=int(bench.wall) + 301).encode())
    assert not bench.fleet.vouching.for_all
    assert isinstance(parse_fleet_message(Echo(worker="x", number=0).encode()), Echo)


@pytest.mark.parametrize("surrendered", [False, True])
def test_an_overlap_is_found_in_the_stream(bench: Bench, surrendered: bool) -> None:  # noqa: FBT001
    """The own claim was lost with the broker's power, say: another worker reserved the same ids.

    What that one surrendered before was reserved by this one with right.
    """
    bench.join()
    claimed = claim(bench, 10, 20)
    bench.confirm()
    bench.echo()
    assert claimed == [True]
    bench.held = (10, 20)
    bench.fleet.disconnect()
    said = [claim_of("rival", 5, 30)]
    if surrendered:
        rest = Surrendered(worker="rival", app_tag="order", left=10, right=30, rest=10)
        said.append(rest.encode())
    bench.join(snapshot(), *said)
    assert bench.counters[Event.OVERLAPS_HEARD] == (not surrendered)
    assert bench.held == ((10, 20) if surrendered else None)


def test_nobody_can_guess_the_number_of_an_echo(bench: Bench) -> None:
    """A caller that knows the queue's name would end claims before they are heard out."""
    bench.join()
    outcome = claim(bench, 0, 10)
    bench.confirm()
    for number in range(-100, 100):
        forged = Echo(worker=bench.fleet.key, number=number)
        bench.fleet.on_fleet_message(forged.encode(), from_fleet=False)
    assert outcome == []
    bench.echo()
    assert outcome == [True]


@pytest.mark.parametrize("heard", [True, False])
def test_the_end_of_the_stream_is_known_once_all_before_it_was_heard(
    bench: Bench,
    heard: bool,  # noqa: FBT001
) -> None:
    """What lags in the worker's own queue is lost with it: it is read in the stream then."""
    bench.join()
    bench.pass_time(10)
    bench.confirm()
    bench.memory.on_stream_open()
    sentinel = bench.channel.outbox[-1][0]
    bench.confirm(bound=heard)
    bench.memory.on_stream_message(sentinel, 200, from_fleet=True)
    bench.fleet.disconnect()
    bench.connect()
    bench.confirm()
    bench.memory.on_stream_open()
    (end,) = [body for body in bench.confirm() if b"echo" in body]
    bench.memory.on_stream_message(end, 300, from_fleet=True)
    assert bench.stream.starts == [0, 200 if heard else 100]
