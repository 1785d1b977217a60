"""Millions of ids through sequences, in four processes, while the broker is restarted twice.

Eight threads in each of three processes and eight tasks in a fourth draw steadily; most share their
process's sequence, some have one of their own. RabbitMQ is stopped and started, then killed and
started. No id may go out twice and no call may fail: the ids in memory last longer than an outage.

Then the broker stays away until nothing is left: each drawer must get a typed error in time, and
ids again after the broker's return. In the end every id that the database gave is accounted for.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.crews.census import Census, take_census
from benchmarks.crews.crew import KINDS, Crew, crew
from benchmarks.crews.drawers import CAP, DRAWERS, PATIENCE, SHARING, Lease
from benchmarks.harness.proof import Effort, Finding, Proof, main
from benchmarks.harness.runner import BenchmarkError, progress
from benchmarks.harness.site import TAG
from devstack import (
    Database,
    PrivateRabbitMq,
    private_mysql,
    private_rabbitmq,
    scratch_database,
)
from devstack.workers import Fleet
from idalloc_client import IdClient
from idalloc_schemas import TagHealth

TITLE = "Sequences in 4 processes of 8 threads or tasks, the broker restarted twice"
DEFAULT = Effort(amount=10_000_000, seconds=90.0, budget=240.0)

_COVER = 15.0  # seconds that a lease should last; it grows to that from the smallest one
_SMALL = 1_000_000  # ids: a run of fewer has no time to grow
_SMALL_COVER = 60.0  # seconds: it is for any machine, also for one on which brokers start slowly
_ENOUGH = 1.8  # leases in memory before the broker goes: near the two that are leased ahead
_IN_TIME = 1.0  # seconds beyond its patience that a drawer may wait for its error
_GIVEN_MYSQL = "IDALLOC_TEST_MYSQL_URL"


def prove(effort: Effort) -> Proof:
    """Draw, restart, drain, and count."""
    until = time.monotonic() + effort.budget
    with (
        private_rabbitmq() as broker,
        _database() as database,
        Fleet(broker.url, database.url) as fleet,
        TemporaryDirectory(prefix="idalloc-outage-") as folder,
    ):
        fleet.start(1)  # one worker, so that every drawer's ids must rise
        rate = effort.amount / (effort.seconds or 1.0) / (len(KINDS) * DRAWERS)
        lease = lease_for(effort, rate)
        with crew(Path(folder), broker.url, rate, lease, until) as drawing:
            enough = _ENOUGH * lease.cover
            findings = [
                _outage(drawing, broker, enough, "graceful restart", broker.stop),
                _outage(drawing, broker, enough, "kill -9", broker.kill),
            ]
            progress(f"drawing {effort.amount:,} ids")
            drawing.wait_until(lambda: drawing.sum("drawn") >= effort.amount, "all are drawn")
            errors = drawing.errors()
            _long_outage(drawing, broker)
            last_words = drawing.end()
        progress("counting")
        [[max_id]] = database.query("SELECT max_id FROM segments WHERE app_tag = %s", TAG)
        with IdClient(broker.url) as client:
            [tag] = client.health(TAG, timeout=30).tags
        census = take_census(sorted(Path(folder).iterdir()))
    for error in errors[:5]:
        progress(f"failed: {error}")
    findings += judge(effort, census, errors, last_words)
    return Proof(TITLE, findings + account(census, last_words, tag, int(max_id)))


def lease_for(effort: Effort, rate: float) -> Lease:
    """Say what to lease at `rate` ids per second of each drawer."""
    if effort.amount >= _SMALL:
        return Lease(floor=100, cover=_COVER)
    return Lease(floor=min(int(rate * SHARING * _SMALL_COVER) + 1, CAP), cover=_SMALL_COVER)


def _outage(
    drawing: Crew,
    broker: PrivateRabbitMq,
    enough: float,
    name: str,
    strike: Callable[[], None],
) -> Finding:
    progress(f"waiting for {enough:g} s of cover, then: {name}")
    drawing.wait_until(lambda: drawing.least("cover") >= enough, "there is cover")
    cover, drawn = drawing.least("cover"), drawing.sum("drawn")
    drawing.watch_cover()
    started = time.monotonic()
    strike()
    broker.start()
    lasted = time.monotonic() - started
    drawing.wait_until(lambda: drawing.least("cover") >= enough, "the cover is back")
    if lasted > cover:
        raise BenchmarkError(
            f"the broker was away for {lasted:.0f} s, longer than the cover of {cover:.0f} s: "
            "try a quieter machine"
        )
    note = (
        f"cover {cover:.1f} s before and {drawing.least_cover():.1f} s at the least, "
        f"{drawing.sum('drawn') - drawn:,} ids until it was back"
    )
    return Finding(f"seconds without a broker, {name}", round(lasted, 1), note=note)


def _long_outage(drawing: Crew, broker: PrivateRabbitMq) -> None:
    progress("stopping the broker until nothing is left")
    broker.stop()
    drawing.tell("drain")
    drawing.wait_until(lambda: drawing.sum("drained") == len(drawing), "nothing is left")
    broker.start()
    drawing.tell("recover")
    drawing.wait_until(lambda: drawing.sum("recovered") == len(drawing), "ids come again")


def judge(
    effort: Effort, census: Census, errors: list[str], last_words: list[dict[str, Any]]
) -> list[Finding]:
    """Compare what was found with the bars."""
    drawers = [name for words in last_words for name in words["drained_by"]]
    named = ", ".join(sorted(set(drawers)))
    overrun = max(words["waited"] for words in last_words) - PATIENCE
    written = sum(words["drawn"] for words in last_words)
    return [
        Finding("ids drawn", census.ids, at_least=effort.amount),
        Finding(
            "ids counted but not drawn, or drawn but not counted",
            abs(written - census.ids),
            at_most=0,
        ),
        Finding("duplicates", census.duplicates, at_most=0),
        Finding("ids not above the one before", census.falls, at_most=0),
        Finding("errors while cover lasted", len(errors), at_most=0),
        Finding(
            "drawers told by an error that nothing is left", len(drawers), at_least=32, note=named
        ),
        Finding("seconds past the timeout until that error", round(overrun, 3), at_most=_IN_TIME),
        Finding(
            "drawers with ids again", sum(words["recovered"] for words in last_words), at_least=32
        ),
    ]


def account(
    census: Census, last_words: list[dict[str, Any]], tag: TagHealth, max_id: int
) -> list[Finding]:
    """Add up where every id of the database's row is."""
    unused = sum(words["unused"] for words in last_words)
    leased = census.ids + unused
    # id 0 is in the first segment and is never handed out
    missing = max_id - 1 - tag.ids_handed_out - tag.left - tag.ids_lost
    return [
        Finding("ids leased and given up unused", unused, note=f"{leased:,} leased"),
        Finding(
            "ids lost on their way, in replies that a dead connection did not deliver",
            tag.ids_handed_out - leased,
            at_least=0,
            note=f"the worker handed {tag.ids_handed_out:,} out and holds {tag.left:,}",
        ),
        Finding(
            "ids of the database's row that nobody accounts for",
            abs(missing),
            at_most=0,
            note=f"max_id {max_id:,}",
        ),
    ]


@contextmanager
def _database() -> Iterator[Database]:
    given = os.environ.get(_GIVEN_MYSQL)
    if given:
        with scratch_database(given.rstrip("/")) as database:
            yield database
    else:
        with private_mysql() as server, scratch_database(server.url) as database:
            yield database


if __name__ == "__main__":
    sys.exit(main(prove, __doc__, "ids", DEFAULT))
