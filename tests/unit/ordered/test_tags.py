"""What a worker does with what it learns of ordered tags: which they are, and who reserved."""

from collections.abc import Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import AllocRequest, Reserved, RespCode
from idalloc_worker.counters._counters import Counters
from idalloc_worker.counters._registry import Event, Outcome
from idalloc_worker.engine._effects import Answer, Refused, StartRefill
from idalloc_worker.engine._refusals import SHUTTING_DOWN
from idalloc_worker.ordered._bundles import MAX_BYTES, OrderedRequest, encode_bundle
from idalloc_worker.ordered._owner_session import DirectRequest, OwnerSession
from idalloc_worker.ordered._tags import OrderedTags, Survey
from idalloc_worker.requests._sample import SHOWN
from idalloc_worker.requests._session import Delivery
from idalloc_worker.requests._stalls import StallGuard
from idalloc_worker.rights._fleet_users import FleetUsers
from idalloc_worker.service._service import WorkerService
from idalloc_worker.store._reservation import Reservation
from idalloc_worker.store._threads import RefillOutcome
from idalloc_worker.tags._partitions import QUEUES, partition_of
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from tests.engine_driver import Driver, OwnerDriver, Row
from tests.runtimes import no_periods, runtime
from tests.vouched import logged_in

PARTITION = QUEUES[partition_of("order")]


class Bench:
    """A worker's ordered tags, with engines that are played by hand."""

    def __init__(self, *tags: str) -> None:
        rows = {tag: Row(10) for tag in tags or ("order",)}
        self.plain, self.owner = Driver(rows=rows), OwnerDriver(rows=rows)
        attempts: Iterator[int] = count(1)
        self.plain.engine._attempts = self.owner.engine._attempts = attempts
        self.answers: list[Answer] = []
        self.jobs: list[Any] = []
        self.soon: list[Callable[[], None]] = []
        loop: Any = SimpleNamespace(call_later=self._later)
        outside: Any = SimpleNamespace(
            run=self.jobs.append,
            on_replied=None,
            answer=lambda _delivery, answer: self.answers.append(answer),
        )
        self.ordered = OrderedTags(
            *(self.owner.engine, self.plain.engine, "worker"),
            runtime(link=loop, refill_threads=outside),
            outside,
            lambda: None,
            logged_in(),
            no_periods(),
        )
        forwarder: Any = SimpleNamespace(when_idle=lambda on_idle: on_idle(), add=self.jobs.append)
        self.ordered._forwarder = forwarder
        self.parts: Any = self.ordered  # to play with what is inside

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        if not delay:  # else it is the next look at the table
            self.soon.append(callback)

    def look(self, marks: dict[str, int]) -> None:
        """Have a look at the table find this."""
        self.parts._on_survey(Survey(frozenset(marks), marks), 1000.0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


BUNDLE = encode_bundle([OrderedRequest(AllocRequest(app_tag="order"), b"q", b"1", b"alice")])


class BundleBench(Bench):
    """The owner of a partition, and what became of the messages that came to it."""

    def __init__(self, users: FleetUsers | None = None) -> None:
        super().__init__()
        self.dead: list[int] = []
        self.asked: list[str | None] = []
        self.parts.draw = lambda request, _now: self.asked.append(request.user_name)
        self.parts._responder = SimpleNamespace(stalls=StallGuard(1000.0))
        if users is not None:
            self.parts._users = users
        channel = SimpleNamespace(basic_reject=lambda tag, _requeue: self.dead.append(tag))
        fast_channel: Any = SimpleNamespace(
            pika_channel=channel, is_open=True, server_properties={}
        )
        self.session = OwnerSession(
            fast_channel,
            "worker",
            lambda _callback: None,
            lambda _since: None,
            users=logged_in(),
        )

    def deliver(self, body: Any, sender: bytes | None, tag: int = 1) -> None:
        """Have a message come in."""
        delivery = Delivery(
            self.session, tag, PARTITION, None, None, redelivered=False, user=sender
        )
        self.parts._on_bundle(delivery, Properties(), body)


def test_workers_are_believed_on_who_asked() -> None:
    """The broker vouched for that to them."""
    bench = BundleBench()
    bench.deliver(BUNDLE, b"idalloc-worker")
    assert (bench.asked, bench.dead) == (["alice"], [])


def test_an_owner_goes_on_with_a_trace() -> None:
    """It came with the request from the worker that passed it on; the others have none."""
    bench = BundleBench()
    begun: list[tuple[Any, ...]] = []
    bench.parts._traces = SimpleNamespace(begin=lambda *about: begun.append(about))
    traceparent = b"00-" + b"7" * 32 + b"-" + b"7" * 16 + b"-01"
    asked = AllocRequest(app_tag="order")
    shown = OrderedRequest(asked, b"q", b"1", b"alice", traceparent)
    bench.deliver(
        encode_bundle([OrderedRequest(asked, b"q", b"0", b"bob"), shown]), b"idalloc-worker"
    )
    ((parent, request, queue),) = begun
    assert (parent, request.user, queue) == (traceparent, b"alice", PARTITION)
    assert bench.asked == ["bob", "alice"]


def test_an_owners_request_that_waits_says_so(bench: Bench) -> None:
    """For the refill of the engine for ordered tags."""
    waits: list[bool] = []
    trace = SimpleNamespace(waits=lambda *, ordered: waits.append(ordered))
    request: Any = SimpleNamespace(
        request=AllocRequest(app_tag="order"), deadline=2000.0, trace=trace, user_name=None
    )
    bench.parts.draw(request, 1000.0)
    assert waits == [True]


@pytest.mark.parametrize("sender", [b"mallory", b"", None])
def test_a_bundle_that_no_worker_wrote_is_put_away_unread(sender: bytes | None) -> None:
    """Anybody may publish to every queue: not a byte of such a message is looked at."""
    bench = BundleBench()
    bench.deliver(object(), sender)
    assert (bench.asked, bench.dead) == ([], [1])
    counters = bench.parts._counters.for_health()
    assert (counters["foreign_messages"], counters["dead_lettered"]) == (1, 1)


def test_of_a_flood_of_them_only_some_are_put_away() -> None:
    """All are counted; the queue has to be empty again soon."""
    bench = BundleBench()
    for tag in range(1, 2 * SHOWN + 1):
        bench.deliver(object(), b"mallory", tag)
    assert len(bench.dead) == SHOWN
    assert bench.parts._counters.events[Event.FOREIGN_MESSAGES] == 2 * SHOWN
    assert bench.session._acks.take()


def test_where_nobody_knows_how_workers_are_called() -> None:
    """Bundles are served, within their bounds; whom they name is not believed."""
    users = logged_in()
    users.refused(ChannelClosedByBroker(406, "PRECONDITION_FAILED - user_id"))
    bench = BundleBench(users)
    bench.deliver(BUNDLE, None)
    bench.deliver(b" " * MAX_BYTES + BUNDLE, None, tag=2)
    assert (bench.asked, bench.dead) == ([None], [2])


def test_nothing_outlives_its_generation(bench: Bench) -> None:
    """Others own the partitions now, whether they can be heard or not."""
    assert bench.owner.get().id == 1
    assert bench.owner.health().left
    bench.parts._on_end()
    assert bench.owner.health().left == 0


def test_a_worker_that_sees_a_switch_drops_what_it_holds(bench: Bench) -> None:
    """Of the tag as an ordinary one; it is lost, and counted."""
    assert bench.plain.get().id == 1
    held = bench.plain.health().left
    bench.look({"order": 20})
    assert (bench.plain.health().left, bench.plain.health().ids_lost) == (0, held)


def test_a_switch_there_and_back_that_no_look_saw(bench: Bench) -> None:
    """The tag is ordered at each look, and the row tells that somebody has reserved meanwhile."""
    bench.look({"order": 0})
    assert bench.owner.get().id == 1
    bench.look({"order": 20})
    assert bench.owner.get().id == 2
    bench.look({"order": bench.owner.draw_elsewhere()})
    assert bench.owner.get().id == 30


def test_a_tag_that_is_ordinary_for_a_while(bench: Bench) -> None:
    """Or removed, and added again later: the owner drops what it holds as soon as it sees it."""
    bench.look({"order": 0})
    assert bench.owner.get().id == 1
    bench.look({})
    assert bench.owner.health().left == 0
    bench.look({"order": 20})
    assert bench.owner.get().id == 20


def test_what_this_worker_reserves_for_an_ordinary_tag(bench: Bench) -> None:
    """Its own owner's ids lie below them."""
    assert bench.owner.get().id == 1
    assert bench.plain.get().id == 20
    bench.ordered.reserved_elsewhere("order", 30)
    assert bench.owner.get().id == 40


def test_many_rows_are_compared_some_at_a_time() -> None:
    """So that a large table does not hold requests up; all have their turn."""
    tags = [f"tag-{number:05}" for number in range(12_000)]
    bench = Bench(tags[0], tags[-1])
    for tag in (tags[0], tags[-1]):
        assert bench.owner.get(tag).id == 1
    bench.look(dict.fromkeys(tags, 50))
    assert [bench.owner.health(tag).left for tag in (tags[0], tags[-1])] == [0, 18]
    turns = 0
    while bench.owner.health(tags[-1]).left:
        bench.soon.pop()()
        turns += 1
    assert turns == 2


def test_an_owner_that_stops_reserves_nothing_from_the_first_cancel_on(bench: Bench) -> None:
    """Whoever gets the first of its partitions may have reserved by then."""
    assert bench.owner.get().id == 1
    told: list[bool] = []

    def cancel(on_cancelled: Callable[[], None]) -> None:
        bench.owner.ask(count=12)
        assert not bench.owner.refills
        on_cancelled()

    bench.parts._partition_owner = SimpleNamespace(cancel=cancel)
    bench.ordered.drain(lambda: told.append(True))
    assert told == [True]


def test_a_request_that_proves_ordered_while_the_worker_stops(bench: Bench) -> None:
    """It is handed back: nobody waits any more for the broker to say that its owner has it."""
    bench.parts._partition_owner = SimpleNamespace(
        cancel=lambda on_cancelled: on_cancelled(), problem=None
    )
    request: Any = SimpleNamespace(request=AllocRequest(app_tag="order"))
    bench.jobs.clear()
    bench.ordered.redirect(request)
    assert bench.jobs == [request]
    bench.ordered.drain(lambda: None)
    bench.ordered.redirect(request)
    assert bench.jobs == [request]
    (answer,) = bench.answers
    assert isinstance(answer, Refused)
    assert answer is SHUTTING_DOWN


def test_a_service_tells_its_owner_who_reserves() -> None:
    """Other workers, and itself for the tag as an ordinary one; not the owner's own refills."""
    owner, plain = OwnerDriver(rows={"order": Row(10)}), Driver(rows={"order": Row(10)})
    counters = Counters()
    link = SimpleNamespace(call_later=lambda *_: None, call_soon=lambda _callback: None)
    thread: Any = SimpleNamespace(post=lambda _callback: None, link=link)
    service = WorkerService(
        *(plain.engine, owner.engine, lambda _handler: thread, thread),
        name="worker",
        prefetch=1,
        counters=counters,
    )
    assert owner.get().id == 1
    other = Reserved(worker="other", app_tag="order", left=20, right=30)
    service._fleet.on_fleet_message(other.encode(), from_fleet=True)
    assert owner.health().left == 0
    owner.rows["order"].max_id = 30
    assert owner.get().id == 30
    own = StartRefill("order", 1, 0, ordered=True, attempt=1)
    with pytest.raises(KeyError):  # the engine knows nothing of this attempt
        service._record(RefillOutcome(own, Reservation(Segment(50, 60), TagSettings(step=10))))
    assert owner.health().left == 19
    plain.ask()
    (refill,) = plain.refills
    service._record(RefillOutcome(refill, Reservation(Segment(50, 60), TagSettings(step=10))))
    assert owner.health().left == 0


def test_a_look_that_a_stop_cuts_off_is_nothing_to_complain_of(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, it is."""
    bench.parts._on_survey(TimeoutError("slow"), 1000.0)
    assert len(caplog.records) == 1
    bench.parts._partition_owner = SimpleNamespace(cancel=lambda on_drained: on_drained())
    bench.ordered.drain(lambda: None)
    caplog.clear()
    bench.parts._on_survey(TimeoutError("cut off"), 1000.0)
    assert not caplog.records


class DirectBench(BundleBench):
    """The owner of a partition, and what it draws or passes on of what callers send to it."""

    def __init__(self) -> None:
        super().__init__()
        self.owned = True
        self.jobs.clear()
        self.parts._partition_owner = SimpleNamespace(owns=lambda _: self.owned, problem=None)

    def take(self, app_tag: str, queue: str) -> DirectRequest:
        request = self.session.direct(
            Delivery(self.session, 1, queue, b"q", None, redelivered=False, user=b"alice")
        )
        request.request = AllocRequest(app_tag=app_tag)
        self.ordered.take(request, 1000.0)
        return request


def test_an_owner_answers_what_callers_send_to_it() -> None:
    """And says so, that they go on with it."""
    bench = DirectBench()
    request = bench.take("order", PARTITION)
    assert (bench.asked, bench.jobs) == (["alice"], [])
    assert request.owner_queue == PARTITION
    assert bench.parts._counters.events[Event.OWNED] == 1


def test_what_came_before_this_generation_is_passed_on() -> None:
    """Unless its channel is closed: then the broker delivers it anew."""
    bench = DirectBench()
    bench.owned = False
    request = bench.take("order", PARTITION)
    assert (bench.asked, bench.jobs) == ([], [request])
    assert request.owner_queue is None
    channel: Any = bench.session._channel
    channel.is_open = False
    bench.take("order", PARTITION)
    assert bench.jobs == [request]


def test_a_tag_of_another_partition_is_not_asked_for_here() -> None:
    """A flood of those would fill this queue until the broker has confirmed them in the other."""
    bench = DirectBench()
    refused: list[RespCode] = []
    bench.parts._responder.refuse = lambda _, refusal: refused.append(refusal.code)
    bench.take("order", QUEUES[(partition_of("order") + 1) % 8])
    assert (refused, bench.asked, bench.jobs) == ([RespCode.INVALID_REQUEST], [], [])


def test_what_an_owner_does_not_even_answer_is_counted() -> None:
    """As a request of a user that was refused for its number."""
    bench = DirectBench()
    delivery = Delivery(bench.session, 1, PARTITION, b"q", None, redelivered=False, user=b"greedy")
    bench.parts._on_dropped(delivery)
    counters = bench.parts._counters
    assert counters.events[Event.REQUESTS] == 1
    assert counters.outcomes["id.alloc"][Outcome.LIMITED] == 1
