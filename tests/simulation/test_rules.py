"""Rules of the fleet that chance seldom comes by: each in the one case that needs it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from idalloc_client.amqp._io._frames import Properties
from idalloc_schemas import (
    ALLOC_QUEUE,
    HEALTH_QUEUE,
    Echo,
    PeriodKind,
    Reserved,
    Surrendered,
    encode_alloc_request,
)
from idalloc_worker.counters._registry import Event, Outcome
from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.marks._marks_stream import MarksStream
from idalloc_worker.service._clocks import ClockWatch
from idalloc_worker.service._service import WorkerService
from idalloc_worker.tags._partitions import QUEUES
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.templates._clock import DatabaseClock
from idalloc_worker.templates._periods import Course
from tests.simulation._bench import NOTHING_FAILS, TAG, Bench, fleet_of, mark_of
from tests.simulation._broker import Message
from tests.simulation._channel import SimConnection
from tests.simulation._clock import WAIT
from tests.simulation._run import without_chance
from tests.simulation._worker import SimWorker


@pytest.fixture
def bench() -> Iterator[Bench]:
    with without_chance():
        yield Bench()


def test_requests_are_taken_once_the_fleet_was_heard(bench: Bench) -> None:
    """Until then others answer sooner: this one could reserve nothing."""
    bench.start()
    bench.settle()
    requests = bench.world.broker.queues[ALLOC_QUEUE]
    assert not requests.consumers
    bench.wait(WAIT)
    assert requests.consumers


def test_a_claim_that_was_cut_off_is_made_again(bench: Bench) -> None:
    """On the next connection: whoever waits for the segment has not to ask again."""
    first, other = bench.joined(2)
    bench.world.broker.cut(_connection(other))
    bench.settle(statements=False)
    number = bench.ask()
    bench.settle_until(lambda: bench.world.database.rows[TAG])
    bench.world.broker.cut(_connection(first))
    bench.settle()
    assert not bench.answered(number)
    bench.wait(1.0)
    assert bench.answered(number)
    assert mark_of(other) >= 3


def test_answers_that_are_still_coming_in_are_waited_for(bench: Bench) -> None:
    """Many marks travel in parts; a worker that joins serves once it has the last of them."""
    (knowing,) = bench.joined(1)
    for number in range(1700):
        fleet_of(knowing).marks.reserved("gone", f"t{number}", 0, 3)
    joining = bench.start()
    bench.settle()
    knowing.freeze(frozen=True)
    bench.wait(WAIT)
    assert mark_of(joining, "t0") == 3
    assert mark_of(joining, "t1699") == 0
    assert not fleet_of(joining).speaking
    knowing.freeze(frozen=False)
    bench.wait(WAIT)
    assert mark_of(joining, "t1699") == 3
    assert fleet_of(joining).speaking


def test_a_worker_that_comes_back_tells_what_it_knows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever joined meanwhile asked in vain, and no stream told it."""
    monkeypatch.setattr(
        MarksStream, "open", lambda stream, _: stream._handler.on_stream_refused("there is none")
    )
    (knowing,) = bench.joined(1)
    bench.ask()
    bench.settle()
    bench.world.broker.cut(_connection(knowing))
    bench.settle(statements=False)
    joining = bench.start()
    bench.settle()
    assert mark_of(joining) == 0
    bench.wait(0.2)  # it is back, and the other one still gathers
    assert mark_of(joining) == mark_of(knowing) > 0


def test_what_is_reserved_is_told_to_whoever_asks(bench: Bench) -> None:
    """By the worker itself, be it the only one."""
    (knowing,) = bench.joined(1)
    bench.ask()
    bench.settle()
    (joining,) = bench.joined(1)
    assert mark_of(joining) == mark_of(knowing) == bench.world.database.rows[TAG]


def test_only_the_exchange_is_believed(bench: Bench) -> None:
    """Anybody may write into a queue whose name he knows; the exchange is for workers."""
    (worker,) = bench.joined(1)
    bench.ask()
    bench.settle()
    mark = mark_of(worker)
    queue = bench.fleet_queue(worker)
    bench.tell(queue, Reserved(worker="x", app_tag=TAG, left=0, right=1000).encode())
    key = fleet_of(worker).key
    forged = Surrendered(worker="x", app_tag=TAG, left=0, right=mark)
    fleet_of(worker).marks.reserved("x", TAG, 0, mark)
    bench.tell(queue, forged.encode())
    bench.settle()
    ends = {name: end for _, name, end in fleet_of(worker).marks.entries()}
    assert ends == {key: mark, "x": mark}


def test_an_echo_counts_for_who_sent_it(bench: Bench) -> None:
    """Somebody else's echo ends no claim: what came before one's own may not be read yet."""
    (worker,) = bench.joined(1)
    fleet = fleet_of(worker)
    number = bench.ask()
    sent = fleet._echoes._echoes
    bench.settle_until(lambda: sent)
    for each in list(sent):
        fleet.on_fleet_message(Echo(worker="x", number=each).encode(), from_fleet=False)
    assert sent
    bench.settle()
    assert not sent
    assert bench.answered(number)


def test_what_the_broker_did_not_take_is_told_again(bench: Bench) -> None:
    """A message that is refused has reached nobody; the segment is used once all have heard."""
    bench.joined(2)
    number = bench.ask()
    bench.world.broker.nack_percent = 100
    bench.settle()
    assert not bench.answered(number)
    bench.world.broker.nack_percent = 0
    bench.wait(1.9)
    assert bench.answered(number)
    assert {mark_of(worker) for worker in bench.workers} == {bench.world.database.rows[TAG]}


def test_a_refill_reads_the_queue_before_it_repairs(bench: Bench) -> None:
    """A give-back that it has not heard of yet is no rewind."""
    worker = bench.give_back_unheard()
    number = bench.ask_of(worker, 6)
    assert not bench.answered(number)
    bench.fleet_channel(worker).down.hold(held=False)
    bench.settle()
    assert bench.answered(number)
    assert bench.world.judge.counts["repairs"] == 0


def test_the_row_watch_reads_the_queue_before_it_raises(bench: Bench) -> None:
    """The same, for rows that nobody reserves from."""
    worker = bench.give_back_unheard()
    row = bench.world.database.rows[TAG]
    worker.service._row_watch._look()
    bench.settle()
    bench.fleet_channel(worker).down.hold(held=False)
    bench.settle()
    assert bench.world.database.rows[TAG] == row
    assert bench.world.judge.counts["repairs"] == 0


def test_a_row_is_lowered_once_the_others_have_been_told(bench: Bench) -> None:
    """What the worker that stops says has to be in all queues first."""
    worker, _ = bench.joined(2)
    bench.ask_of(worker)
    row = bench.world.database.rows[TAG]
    up = bench.fleet_channel(worker).up
    worker.stop()
    up.hold(held=True)
    bench.settle()
    assert bench.world.database.rows[TAG] == row
    up.hold(held=False)
    bench.settle()
    assert bench.world.database.rows[TAG] < row


def test_claims_that_were_dropped_unread_are_heard_all_the_same() -> None:
    """A full queue loses the oldest; what its sender says next shows that some is missing."""
    bench = Bench(replace(NOTHING_FAILS, tags=(TAG, "b")))
    reading, other = bench.joined(2)
    channel, (consumer,) = bench.fleet_channel(reading), bench.fleet_queue(reading).consumers
    channel.down.hold(held=True)
    bench.ask_of(other)
    assert channel.drop_oldest(consumer)
    assert mark_of(other) > mark_of(reading) == 0
    channel.down.hold(held=False)
    bench.wait(1.0)
    assert mark_of(other) == mark_of(reading)
    assert reading.counters.events[Event.FLEET_GAPS] == 1
    assert fleet_of(reading).speaking


def test_a_request_whose_time_is_over_uses_up_no_id(bench: Bench) -> None:
    """Nobody waits for its answer; it is done with all the same."""
    (worker,) = bench.joined(1)
    bench.ask()
    bench.settle()
    used = bench.world.judge.counts["ids"]
    late = Properties(reply_to=b"caller", correlation_id=b"1", expiration=b"0")
    body = encode_alloc_request(TAG, 1)
    bench.world.broker.queues[ALLOC_QUEUE].push(Message("", ALLOC_QUEUE, body, late))
    bench.settle()
    assert bench.world.judge.counts["ids"] == used
    assert worker.counters.outcomes[ALLOC_QUEUE][Outcome.EXPIRED] == 1


def test_a_request_that_cannot_be_answered_uses_up_no_id(bench: Bench) -> None:
    """It is put away: answered by nobody, it would come back for ever."""
    (worker,) = bench.joined(1)
    body = encode_alloc_request(TAG, 1)
    bench.world.broker.queues[ALLOC_QUEUE].push(Message("", ALLOC_QUEUE, body, Properties()))
    bench.settle()
    assert +Counter(worker.counters.outcomes[ALLOC_QUEUE]) == {Outcome.DEAD_LETTERED: 1}
    assert bench.world.database.rows[TAG] == 0


def test_a_worker_that_stops_gives_back_what_is_under_way(bench: Bench) -> None:
    """A refill whose answer comes only then brings ids that nobody needs any more."""
    (worker,) = bench.joined(1)
    bench.ask()
    bench.settle_until(lambda: bench.world.database.rows[TAG])
    worker.stop()
    bench.wait(1.0)
    assert not worker.alive
    assert bench.world.database.rows[TAG] <= 2


def test_a_worker_that_stops_raises_no_row(bench: Bench) -> None:
    """It lowers rows itself: what it looked at before must not be put right after that."""
    worker, _ = bench.joined(2)
    bench.ask_of(worker)
    bench.wait(4.0)
    worker.service._row_watch._look()
    worker.stop()
    looks = len(bench.world.statements.active)
    worker.service._row_watch._look()
    assert len(bench.world.statements.active) == looks
    bench.wait(10.0)
    assert bench.world.judge.counts["repairs"] == 0


def test_a_worker_whose_clocks_jumped_begins_anew(bench: Bench) -> None:
    """As another one, with nothing: it may be a copy, and its ids another one's."""
    (worker,) = bench.joined(1)
    bench.ask()
    bench.settle()
    key, connection = fleet_of(worker).key, _connection(worker)
    assert worker.engine.remaining
    worker.service._others._clocks = jumping_clocks()
    WorkerService._beat(worker.service)
    assert (worker.engine.remaining, fleet_of(worker).key == key) == (0, False)
    bench.wait(1.0)
    assert worker.connection not in {None, connection}
    number = bench.ask()
    bench.wait(1.0)
    assert bench.answered(number)


def test_a_worker_looks_at_its_clocks_before_it_uses_a_connection(bench: Bench) -> None:
    """A copy that is restored elsewhere connects first of all."""
    (worker,) = bench.joined(1)
    bench.ask()
    bench.settle()
    key = fleet_of(worker).key
    bench.world.broker.cut(_connection(worker))
    worker.service._others._clocks = jumping_clocks()
    bench.wait(0.3)
    connection = _connection(worker)
    assert (worker.engine.remaining, fleet_of(worker).key == key) == (0, False)
    bench.wait(1.0)
    assert worker.connection is connection


def test_what_either_engine_holds_is_contested(bench: Bench) -> None:
    """A tag that became ordered is in both."""
    (worker,) = bench.joined(1)
    for engine in (worker.engine, worker.owner):
        engine.take(TAG, 1, 0.0, token=None, deadline=9.0)
        (refill,) = [each for each in engine.effects() if isinstance(each, StartRefill)]
        engine.segment_arrived(refill.attempt, Segment(10, 20), TagSettings(step=10), 0.0)
    assert worker.service.on_foreign_claim(TAG, 19, 30) == (10, 20)
    assert (worker.engine.remaining, worker.owner.remaining) == (0, 0)


def test_each_partition_has_one_owner_at_a_time() -> None:
    """Every worker consumes it, and the broker delivers to one."""
    bench = Bench(replace(NOTHING_FAILS, tags=(), ordered=("o",)))
    bench.joined(2)
    bench.wait(1.0)
    partitions = [bench.world.broker.queues[name] for name in QUEUES]
    assert all(queue.single_active and len(queue.consumers) == 2 for queue in partitions)


def test_a_question_that_comes_too_late_is_not_passed_on(bench: Bench) -> None:
    """Nobody waits for what the whole fleet would say to it."""
    (worker,) = bench.joined(1)
    late = Properties(reply_to=b"caller", correlation_id=b"1", expiration=b"0")
    body = b'{"fleet": true}'
    bench.world.broker.queues[HEALTH_QUEUE].push(Message("", HEALTH_QUEUE, body, late))
    bench.settle()
    assert +Counter(worker.counters.outcomes[HEALTH_QUEUE]) == {Outcome.EXPIRED: 1}


def jumping_clocks() -> ClockWatch:
    """Make clocks that jump apart once."""
    clocks = ClockWatch(lambda: 0.0, lambda: 0.0)
    clocks._offset = -100.0
    return clocks


def _connection(worker: SimWorker) -> SimConnection:
    assert worker.connection is not None
    return worker.connection


def test_a_period_from_which_another_worker_reserves_has_begun(bench: Bench) -> None:
    """Its claim is heard before any caller has its first number."""
    (worker,) = bench.joined(1)
    course = Course("slip", PeriodKind.DAY, TagSettings(step=10, period="day"))
    worker.service._periods.known["slip"] = course
    on_reserved = fleet_of(worker).marks.on_reserved
    assert on_reserved is not None
    on_reserved("slip@2026-11-27", 10)
    course.advance(DatabaseClock(datetime(2026, 11, 26, 23, 59, tzinfo=UTC), 0.0), 0.0, lambda _: 0)
    assert course.row == "slip@2026-11-27"
