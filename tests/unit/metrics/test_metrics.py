"""Snapshots on their way from a process to Prometheus: taken, gathered, rendered."""

import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from idalloc_worker.counters._counters import Counters
from idalloc_worker.counters._registry import Outcome
from idalloc_worker.engine._pool import TagPool
from idalloc_worker.metrics._collector import WorkerCollector
from idalloc_worker.metrics._server import _OneAtATime
from idalloc_worker.metrics._snapshot import SNAPSHOT, Snapshot
from idalloc_worker.metrics._snapshot_taker import OnTaken, SnapshotTaker
from idalloc_worker.metrics._sources import Children, OwnProcess, ProcessState, Responder
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from tests.scrapes import Scrape, parse

NEVER: Callable[[OnTaken], None] = lambda _on_taken: None  # noqa: E731  # a process that hangs
SHORT = 0.2  # seconds


def known(name: str, handed_out: int = 0) -> TagPool:
    pool = TagPool(name)
    pool.known = True
    pool.settings = TagSettings(step=1000)
    pool.put(Segment(1, 100_001))
    if handed_out:
        pool.take(handed_out)
    return pool


def snapshot(*pools: TagPool, counters: Counters | None = None) -> Snapshot:
    taken: list[Snapshot] = []
    turns: deque[Callable[[], None]] = deque()
    taker = SnapshotTaker(
        lambda: iter(pools), counters or Counters(), lambda _, call: turns.append(call), "w1"
    )
    taker.take(taken.append)
    while turns:
        turns.popleft()()
    return taken[0]


def rendered(*states: ProcessState) -> Scrape:
    registry = CollectorRegistry()

    class Fixed:
        def gather(self) -> list[ProcessState]:
            return list(states)

    registry.register(WorkerCollector(Fixed()))
    return parse(generate_latest(registry).decode())


# Taking


def test_many_tags_are_looked_at_in_slices() -> None:
    """No turn of the loop looks at all of them; who asks meanwhile shares the snapshot."""
    pools = [known(f"tag-{number}") for number in range(1000)]
    taken: list[Snapshot] = []
    turns: deque[Callable[[], None]] = deque()
    taker = SnapshotTaker(lambda: iter(pools), Counters(), lambda _, call: turns.append(call), "w1")
    taker.take(taken.append)
    assert not taken
    taker.take(taken.append)
    count = 0
    while turns:
        turns.popleft()()
        count += 1
    assert count >= 3
    first, second = taken
    assert first is second
    assert first.tags_held == 1000


def test_a_snapshot_travels_whole() -> None:
    """What comes out of the JSON is what went in."""
    counters = Counters()
    counters.latency.observe(0.3)
    counters.outcomes["id.alloc"][Outcome.GRANTED] += 1
    before = snapshot(known("order", 17), counters=counters)
    assert SNAPSHOT.validate_json(SNAPSHOT.dump_json(before)) == before


# Gathering


def test_a_process_that_does_not_answer_has_no_snapshot() -> None:
    """The only process of a worker may hang too."""
    assert OwnProcess(NEVER, SHORT).gather() == [ProcessState(1, None)]
    said = snapshot()
    assert OwnProcess(lambda answer: answer(said), SHORT).gather() == [ProcessState(1, said)]


@pytest.fixture
def children() -> Iterator[Children]:
    them = Children([1, 2, 3], SHORT)
    yield them
    for number in (1, 2, 3):
        them.ended(number)


def test_the_hung_and_the_dead_do_not_hide_the_others(children: Children) -> None:
    """One answers, one hangs, one has ended: only the first has a snapshot, in bounded time."""
    said = snapshot(known("order", 5))
    Responder(children.new_link(1), lambda answer: answer(said)).start()
    Responder(children.new_link(2), NEVER).start()
    children.new_link(3).close()
    for _ in range(3):
        states = children.gather()
        assert [state.number for state in states] == [1, 2, 3]
        assert [state.snapshot for state in states] == [said, None, None]


def test_a_late_answer_is_not_taken_for_a_new_one(children: Children) -> None:
    """What a process says too late is dropped, and what it says next is used."""
    old, new = snapshot(known("order", 1)), snapshot(known("order", 2))
    waiting: deque[OnTaken] = deque()
    asked = threading.Event()

    def ask(on_taken: OnTaken) -> None:
        waiting.append(on_taken)
        asked.set()

    Responder(children.new_link(1), ask).start()
    assert children.gather()[0].snapshot is None
    assert asked.wait(10)
    asked.clear()
    waiting.popleft()(old)  # too late

    def answer_the_next() -> None:
        assert asked.wait(10)
        waiting.popleft()(new)

    helper = threading.Thread(target=answer_the_next)
    patient = children
    patient._timeout = 10
    helper.start()
    assert patient.gather()[0].snapshot == new
    helper.join()


def test_a_process_that_is_replaced_counts_as_restarted(children: Children) -> None:
    """The link of the new one is used from then on."""
    old, new = snapshot(known("order", 1)), snapshot(known("order", 2))
    Responder(children.new_link(1), lambda answer: answer(old)).start()
    assert children.gather()[0] == ProcessState(1, old, 0)
    children.ended(1)
    assert children.gather()[0] == ProcessState(1, None, 0)
    Responder(children.new_link(1), lambda answer: answer(new)).start()
    assert children.gather()[0] == ProcessState(1, new, 1)


def test_a_large_snapshot_arrives_in_pieces(children: Children) -> None:
    """An answer may be larger than the buffers of the socket."""
    said = snapshot(*(known(f"tag-{number}") for number in range(200)))
    said = replace(said, tags=said.tags * 50)
    Responder(children.new_link(1), lambda answer: answer(said)).start()
    children._timeout = 30
    assert children.gather()[0].snapshot == said


def test_scrapes_that_come_together_share_the_answers() -> None:
    """Nine that come while the processes are asked make one more round of questions, not nine."""
    come, go_on = threading.Semaphore(0), threading.Event()
    rounds: list[int] = []

    class Slow:
        def gather(self) -> list[ProcessState]:
            rounds.append(1)
            assert go_on.wait(10)
            return []

    class CountingLock:
        """Says that somebody has come before it lets them in."""

        lock = threading.Lock()

        def __enter__(self) -> None:
            come.release()
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()

    source = _OneAtATime(Slow())
    source._lock = CountingLock()  # type: ignore[assignment]
    scrapes = [threading.Thread(target=source.gather) for _ in range(10)]
    for thread in scrapes:
        thread.start()
        assert come.acquire(timeout=10)
    go_on.set()
    for thread in scrapes:
        thread.join(10)
    assert len(rounds) == 2


def test_an_idle_responder_ends_with_its_supervisor() -> None:
    """Its thread does not outlive the other end."""
    ours, theirs = socket.socketpair()
    before = set(threading.enumerate())
    Responder(theirs, NEVER).start()
    (thread,) = set(threading.enumerate()) - before
    with closing(ours):
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


# Rendering


def test_names_follow_the_rules_of_prometheus() -> None:
    """Names are in base units, counters end in _total, all have a help text, none comes twice."""
    metrics = rendered(ProcessState(1, snapshot(known("order", 5))))
    assert len(metrics.families) > 30
    for name, (kind, text) in metrics.families.items():
        assert re.fullmatch(r"idalloc_[a-z_]+", name)
        assert not re.search(r"_(total|count|sum|bucket|ms|milliseconds|percent|info_.*)$", name)
        assert text.endswith(".")
        assert kind in {"counter", "gauge", "histogram"}
    assert all(
        sample.name.endswith("_total")
        for sample in metrics.samples
        if metrics.families.get(sample.name.removesuffix("_total"), ("",))[0] == "counter"
    )


def test_what_has_not_happened_is_shown_as_0() -> None:
    """The first failure must be a rise, not the beginning of a series."""
    metrics = rendered(ProcessState(1, snapshot()))
    outcome = {"queue": "id.alloc", "outcome": "no_available_id"}
    assert metrics.value("idalloc_requests_total", **outcome) == 0
    assert metrics.value("idalloc_refill_failures_total", reason="read_only") == 0
    assert metrics.value("idalloc_rewinds_repaired_total") == 0


def test_a_process_without_a_snapshot_is_down() -> None:
    """Of it there is nothing else but how often it was started."""
    metrics = rendered(ProcessState(1, snapshot()), ProcessState(2, None, restarts=3))
    assert metrics.value("idalloc_process_up", process="1") == 1
    assert metrics.value("idalloc_process_up", process="2") == 0
    assert metrics.value("idalloc_process_restarts_total", process="2") == 3
    names = {sample.name for sample in metrics.samples if sample.labels.get("process") == "2"}
    assert names == {"idalloc_process_up", "idalloc_process_restarts_total"}


def test_buckets_add_up() -> None:
    """Each bucket holds those below it; the last one holds all."""
    counters = Counters()
    for seconds in (0.00005, 0.003, 0.003, 99.0):
        counters.latency.observe(seconds)
    metrics = rendered(ProcessState(1, snapshot(counters=counters)))
    bucket = "idalloc_request_duration_seconds_bucket"
    assert metrics.value(bucket, le="0.0001") == 1
    assert metrics.value(bucket, le="0.005") == 3
    assert metrics.value(bucket, le="2.5") == 3
    assert metrics.value(bucket, le="+Inf") == 4
    assert metrics.value("idalloc_request_duration_seconds_count") == 4


def test_the_number_of_series_is_bounded() -> None:
    """A worker with any number of tags names 200 of them, and sums up the rest."""
    pools = [known(f"tag-{number}", 1) for number in range(1000)]
    metrics = rendered(ProcessState(1, snapshot(*pools)))
    name = "idalloc_tag_ids_handed_out_total"
    assert len(metrics.find(name)) == 201
    assert metrics.value(name, tag="all others") == 800
    assert metrics.sum(name) == metrics.value("idalloc_ids_handed_out_total") == 1000
