"""Commits succeed and their answers get lost, under a steady load, from a refill on that matters.

Once behind a proxy that throws the answers away, and once for real: a server whose commits wait for
a replica that does not come. What a worker reserves then it can never use. Callers must notice
nothing while its memory lasts, and what is burnt must be little beside what they draw.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.harness.proof import Effort, Finding, Proof, main
from benchmarks.harness.runner import BenchmarkError, progress
from benchmarks.harness.site import TAG
from devstack import (
    Database,
    PrivateMySql,
    TcpProxy,
    private_rabbitmq,
    scratch_database,
)
from devstack.stalled_commits import commits_hang
from devstack.workers import Fleet
from idalloc_client import IdAllocError, IdClient

TITLE = "Answers of commits lost: ids that are burnt, beside those of the ten seconds before"
DEFAULT = Effort(amount=34_000, seconds=22.0, budget=280.0)

_STEP = 1000
_BEFORE = 10.0  # seconds of load that the loss is compared with
_MOST = 5  # times the ids of that time
_CALLS = 100  # a second
_PATIENCE = 60.0  # seconds until a refill is due
_LOOK = 0.05  # seconds

Site = tuple[str, AbstractContextManager[None]]
"""Where the worker finds its database, and a block in which answers get lost."""


@dataclass
class Load:
    """Draws at a steady rate in a thread; who reads its figures sees them a moment late."""

    url: str
    rate: int
    drawn: int = 0
    falls: int = 0
    errors: list[str] = field(default_factory=list)
    lately: deque[tuple[float, int]] = field(default_factory=deque)
    """When how many were drawn, over the last seconds."""
    over: bool = False

    def run(self) -> None:
        """Draw until it is over."""
        count = max(self.rate // _CALLS, 1)
        highest, due = 0, time.monotonic()
        with IdClient(self.url) as client:
            while not self.over:
                try:
                    for left, right in client.next_ids(TAG, count, timeout=10).ranges:
                        self.falls += left < highest
                        highest = right
                except IdAllocError as error:
                    self.errors.append(str(error))
                else:
                    self._note(count)
                due = max(due + count / self.rate, time.monotonic() - 1)
                time.sleep(max(due - time.monotonic(), 0))

    def _note(self, count: int) -> None:
        now = time.monotonic()
        self.drawn += count
        self.lately.append((now, count))
        while self.lately[0][0] < now - _BEFORE:
            self.lately.popleft()

    @property
    def before(self) -> int:
        """How many were drawn in the last ten seconds."""
        return sum(count for _, count in list(self.lately))


@contextmanager
def drawing(url: str, rate: int) -> Iterator[Load]:
    """Have a load run for the time of a block."""
    load = Load(url, rate)
    thread = threading.Thread(target=load.run, name="benchmark-load", daemon=True)
    thread.start()
    try:
        yield load
    finally:
        load.over = True
        thread.join(_PATIENCE)


def prove(effort: Effort) -> Proof:
    """Lose answers in both ways."""
    findings: list[Finding] = []
    with private_rabbitmq() as broker:
        server = PrivateMySql(server_id=1)
        try:
            server.start()
            for name, way in (("proxy", _behind_a_proxy), ("semi-sync", _waiting_for_a_replica)):
                with scratch_database(server.url) as database:
                    database.query(f"UPDATE segments SET step = {_STEP}")
                    with way(database) as site:
                        findings += _measure(name, broker.url, site, database, effort)
        finally:
            server.close()
    return Proof(TITLE, findings)


def _measure(
    name: str, amqp_url: str, site: Site, database: Database, effort: Effort
) -> list[Finding]:
    mysql_url, outage = site
    seconds = effort.seconds or 0.0
    with Fleet(amqp_url, mysql_url) as fleet:
        fleet.start(1)
        with drawing(amqp_url, effort.amount) as load:
            time.sleep(min(seconds, _BEFORE))
            progress(f"{name}: losing answers from the next refill on")
            with outage:
                mark = _mark(database)
                _wait_until(lambda: _mark(database) > mark, "a refill is due")
                before, drawn = load.before, load.drawn
                time.sleep(seconds)
                end = _mark(database)
                burnt, drawn = end - mark, load.drawn - drawn
            _wait_until(lambda: _mark(database) > end, "ids are reserved again")
    for error in load.errors[:5]:
        progress(f"{name}: {error}")
    return [
        Finding(f"{name}: ids drawn in the ten seconds before", before, at_least=1),
        Finding(f"{name}: ids drawn while answers got lost", drawn, at_least=1),
        Finding(f"{name}: ids burnt", burnt, at_least=1, at_most=_MOST * before),
        Finding(f"{name}: ids not above the one before", load.falls, at_most=0),
        Finding(f"{name}: failed calls", len(load.errors), at_most=0),
    ]


@contextmanager
def _behind_a_proxy(database: Database) -> Iterator[Site]:
    parts = urlsplit(database.url)
    with TcpProxy(parts.hostname or "", parts.port or 3306) as proxy:
        url = f"mysql://idalloc:idalloc@127.0.0.1:{proxy.port}/{database.name}?ssl=false"
        yield url, swallowing(proxy)


@contextmanager
def swallowing(proxy: TcpProxy) -> Iterator[None]:
    """Throw away what the server says after each commit, and leave the connection open."""
    lost = threading.Event()

    def look(data: bytes) -> bytes:
        if commits(data):
            lost.set()
        return data

    def swallow(data: bytes) -> bytes | None:
        if not lost.is_set():
            return data
        lost.clear()
        return None

    proxy.on_client_bytes, proxy.on_server_bytes = look, swallow
    try:
        yield
    finally:
        proxy.on_client_bytes = proxy.on_server_bytes = None


def commits(data: bytes) -> bool:
    """Whether a statement makes a reservation last: by itself, or as the end of a transaction."""
    alone = b"<=>" in data or b"LAST_INSERT_ID" in data
    return b"COMMIT" in data or (b"UPDATE `segments`" in data and alone)


@contextmanager
def _waiting_for_a_replica(database: Database) -> Iterator[Site]:
    yield database.url, commits_hang(database.server_url)


def _mark(database: Database) -> int:
    [(mark,)] = database.query("SELECT max_id FROM segments WHERE app_tag = %s", TAG)
    return int(mark)


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"it was not so within {_PATIENCE:.0f} s that {what}")
        time.sleep(_LOOK)


if __name__ == "__main__":
    sys.exit(main(prove, __doc__, "rate", DEFAULT))
