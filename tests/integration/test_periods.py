"""Tags that start anew in each period: real workers, a real database, and a clock of the test's.

The workers reach the database through a proxy, which has them ask a function of the test's for the
time instead of the server's clock.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack import Database, TcpProxy
from devstack.workers import Fleet, through
from idalloc_schemas import Period, PeriodKind
from idalloc_worker.store._new_rows import NewRow
from idalloc_worker.tags._errors import PeriodNotBegunError
from idalloc_worker.tags._partitions import partition_of
from tests.foreign import ForeignClient
from tests.integration.stores import TABLE, address_of, mark_of, opened
from tests.integration.test_worker import Reply, ask

CLOCK = b"UTC_TIMESTAMP(6)"
OURS = b"test_clock_now()"
SKEWED = """
import os, time
def skewed(clock, offset=float(os.environ["TEST_CLOCK_OFFSET"])):
    return lambda: clock() + offset
time.time, time.monotonic = skewed(time.time), skewed(time.monotonic)
"""
"""For Python to read when it starts: a process whose clocks are wrong."""

Drawn = tuple[str, int]
"""A period, and a number in it."""


@dataclass
class Clock:
    """What time it is by the database."""

    database: Database
    url: str
    """Where the database is that has this clock."""

    def set(self, utc: datetime) -> None:
        micros = (utc - datetime.now(UTC)) / timedelta(microseconds=1)
        self.database.query("UPDATE test_clock SET shift = %s", micros)

    def now(self) -> datetime:
        [(utc,)] = self.database.query("SELECT test_clock_now()")
        assert isinstance(utc, datetime)
        return utc.replace(tzinfo=UTC)


@pytest.fixture
def clock(database: Database) -> Iterator[Clock]:
    """Give the workers' database a clock that the test sets."""
    assert len(CLOCK) == len(OURS)
    database.query("CREATE TABLE test_clock (shift BIGINT)")
    database.query("INSERT INTO test_clock VALUES (0)")
    database.query(
        "CREATE FUNCTION test_clock_now() RETURNS DATETIME(6) READS SQL DATA "
        "RETURN (SELECT UTC_TIMESTAMP(6) + INTERVAL shift MICROSECOND FROM test_clock)"
    )
    parts = urlsplit(database.url)
    with TcpProxy(parts.hostname or "", parts.port or 3306) as proxy:
        proxy.on_client_bytes = lambda data: data.replace(CLOCK, OURS)
        url = through(proxy, database.url).partition("?")[0] + "?ssl=false"
        yield Clock(database, url)


@pytest.fixture
def fleet(vhost: str, clock: Clock) -> Iterator[Fleet]:
    with Fleet(vhost, clock.url) as running:
        yield running


@pytest.fixture
def caller(fleet: Fleet) -> Iterator[ForeignClient]:
    with ForeignClient(fleet.amqp_url) as client:
        yield client


def add(database: Database, app_tag: str, period: str, step: int = 5, **settings: object) -> None:
    columns = {"app_tag": app_tag, "step": step, "period": period, **settings}
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    database.query(f"INSERT INTO {TABLE} ({names}) VALUES ({places})", *columns.values())


def draw(caller: ForeignClient, app_tag: str, count: int = 1) -> Drawn:
    reply = ask(caller, json.dumps({"app_tag": app_tag, "count": count}).encode())
    assert reply["resp_code"] == 0, reply
    return reply["period"], reply["id"]


def periods(database: Database, app_tag: str) -> list[str]:
    """Name the rows of a tag's periods."""
    rows = database.query(f"SELECT app_tag FROM {TABLE} WHERE period IS NOT NULL")
    return sorted(name for (name,) in rows if name.startswith(f"{app_tag}@"))


def midnight(day: int) -> datetime:
    return datetime(2026, 11, day, tzinfo=UTC)


def draw_until(caller: ForeignClient, app_tag: str, period: str) -> Drawn:
    """Draw until the reply is of a period: a worker looks at the clock every second."""
    for _ in range(1000):
        drawn = draw(caller, app_tag)
        if drawn[0] == period:
            return drawn
        time.sleep(0.02)
    raise AssertionError(drawn)


@pytest.mark.parametrize("ordered", [0, 1], ids=["unordered", "ordered"])
def test_numbers_begin_anew(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock, ordered: int
) -> None:
    """Each month from 1 on; the reply tells the month, and its row has the tag's settings."""
    clock.set(midnight(26))
    add(database, "invoice", "month", ordered=ordered, ceiling=1000)
    fleet.start(2)
    assert [draw(caller, "invoice") for _ in range(3)][-1][0] == "2026-11"
    last = draw(caller, "invoice")
    assert last[1] >= 4
    clock.set(datetime(2026, 12, 1, tzinfo=UTC))
    assert draw_until(caller, "invoice", "2026-12")[1] == 1
    assert periods(database, "invoice") == ["invoice@2026-11", "invoice@2026-12"]
    assert mark_of(database, "invoice") == 0
    columns = "step, ceiling, ordered, period, time_zone, keep_periods"
    rows = database.query(f"SELECT {columns} FROM {TABLE} WHERE app_tag = 'invoice@2026-12'")
    assert rows == [(5, 1000, ordered, "2026-12", None, None)]


def test_days_begin_at_midnight_of_the_time_zone(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    clock.set(midnight(26) - timedelta(minutes=30))
    add(database, "utc", "day")
    add(database, "berlin", "day", time_zone="Europe/Berlin")
    fleet.start()
    assert draw(caller, "utc") == ("2026-11-25", 1)
    assert draw(caller, "berlin") == ("2026-11-26", 1)


def test_a_clock_that_is_set_back_brings_no_period_back(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    """As after a failover to a server whose clock is behind."""
    clock.set(midnight(27))
    add(database, "slip", "day", step=1000)
    fleet.start()
    assert draw(caller, "slip") == ("2026-11-27", 1)
    clock.set(midnight(27) - timedelta(seconds=30))
    time.sleep(2)  # so that its worker has looked at the clock
    assert draw(caller, "slip") == ("2026-11-27", 2)


@pytest.mark.long
def test_a_failover_that_loses_the_row_of_a_period_whose_beginning_is_yet_to_come(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    """Nobody waits for ever; once it has begun there too, its numbers go on above the others."""
    clock.set(midnight(27))
    add(database, "slip", "day", step=2)
    fleet.start()
    assert draw(caller, "slip") == ("2026-11-27", 1)
    clock.set(midnight(27) - timedelta(seconds=30))
    database.query(f"DELETE FROM {TABLE} WHERE app_tag = 'slip@2026-11-27'")
    replies: list[Reply] = []
    while not replies or replies[-1]["resp_code"] == 0:
        replies.append(ask(caller, b'{"app_tag":"slip"}'))
        assert len(replies) < 20
    assert replies.pop()["resp_code"] == -1
    last = max((reply["id"] for reply in replies), default=1)
    clock.set(midnight(27) + timedelta(seconds=1))
    time.sleep(1.5)  # so that its worker has looked at the clock, and forgotten the refusal
    period, number = draw(caller, "slip")
    assert period == "2026-11-27"
    assert number > last


def test_the_partition_of_an_ordered_period_is_that_of_its_tag(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    """Its owner draws from the rows of all periods, and health says so."""
    clock.set(midnight(27))
    add(database, "ordered", "day", ordered=1)
    fleet.start()
    draw(caller, "ordered")
    assert partition_of("ordered@2026-11-27") != partition_of("ordered")
    for about in ('{"app_tag":"ordered"}', "{}"):
        tags = ask(caller, about.encode(), "id.health")["tags"]
        (found,) = [tag for tag in tags if tag["app_tag"] == "ordered@2026-11-27"]
        assert found["partition"] == partition_of("ordered")


def test_a_period_by_its_name(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    """For late bookings; nobody has one made that has not begun, or that ended long ago."""
    clock.set(midnight(26))
    add(database, "invoice", "day")
    add(database, "ordered", "day", ordered=1)
    fleet.start()
    draw(caller, "invoice")
    draw(caller, "ordered")
    assert draw(caller, "invoice@2026-11-26") == ("2026-11-26", 2)
    for name in ("invoice@2026-11-27", "invoice@2026-11-24", "invoice@2026-11"):
        reply = ask(caller, json.dumps({"app_tag": name}).encode())
        assert reply["resp_code"] == -3, (name, reply)
    reply = ask(caller, b'{"app_tag":"ordered@2026-11-26"}')
    assert reply["resp_code"] == -2
    assert periods(database, "invoice") == ["invoice@2026-11-26"]


def test_names_where_the_calendar_ends(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    """Anybody may send them; they disturb nobody."""
    clock.set(midnight(26))
    add(database, "invoice", "day", time_zone="Asia/Tokyo")
    add(database, "long", "year", keep_periods=5000)
    (worker,) = fleet.start()
    draw(caller, "invoice")
    draw(caller, "long")
    connected = worker.log.read_text().count("Serving")
    for name in ("invoice@9999-12-31", "invoice@0001-01-01", "invoice@9999", "long@9999"):
        reply = ask(caller, json.dumps({"app_tag": name}).encode())
        assert reply["resp_code"] == -3, (name, reply)
    assert worker.log.read_text().count("Serving") == connected
    assert draw(caller, "invoice") == ("2026-11-26", 2)
    assert "Traceback" not in worker.log.read_text()


def test_old_periods_are_removed(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    """So many ended ones stay; rows that only look like it do, too."""
    add(database, "slip", "day", keep_periods=1)
    for name, period in [("slip@2026-11-20", "2026-11-20"), ("slip@2026-11-24", "2026-11-24")]:
        add(database, name, period)
    database.query(f"INSERT INTO {TABLE} (app_tag, step) VALUES ('slip@2026-11-19', 5)")
    add(database, "slip@2026-10", "2026-10")
    clock.set(midnight(25))
    (worker,) = fleet.start()
    draw(caller, "slip")
    worker.wait_for_log("Removed ended periods of slip: slip@2026-11-20")
    rows = database.query(f"SELECT app_tag FROM {TABLE} WHERE app_tag LIKE 'slip@%%'")
    left = {"slip@2026-10", "slip@2026-11-19", "slip@2026-11-24", "slip@2026-11-25"}
    assert {name for (name,) in rows} == left


def test_a_row_that_cannot_have_periods(
    fleet: Fleet, caller: ForeignClient, database: Database, clock: Clock
) -> None:
    """The operator is told; other tags are served."""
    clock.set(midnight(25))
    add(database, "x" * 22, "day")
    add(database, "zone", "day", time_zone="Europe/Nowhere")
    add(database, "fine", "year")
    (worker,) = fleet.start()
    for name in ("x" * 22, "zone"):
        assert ask(caller, json.dumps({"app_tag": name}).encode())["resp_code"] == -8
    assert draw(caller, "fine") == ("2026", 1)
    assert "with this period app_tag may have at most 21 characters" in worker.log.read_text()


class Callers:
    """Draw at the same time until told to stop."""

    def __init__(self, amqp_url: str) -> None:
        self.drawn: dict[str, list[list[Drawn]]] = {}
        """By tag what each caller got, in its order."""
        self._amqp_url = amqp_url
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, app_tag: str, count: int) -> None:
        mine: list[Drawn] = []
        self.drawn.setdefault(app_tag, []).append(mine)

        def call() -> None:
            with ForeignClient(self._amqp_url) as client:
                while not self._stop.is_set():
                    mine.append(draw(client, app_tag, count))

        self._threads.append(threading.Thread(target=call))
        self._threads[-1].start()

    def until(self, enough: Callable[[], bool]) -> None:
        """Let them go on until that is so."""
        try:
            for _ in range(3000):
                if enough():
                    return
                time.sleep(0.02)
            raise AssertionError("not enough in a minute")
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def seen(self, app_tag: str, period: str) -> int:
        """Count what was drawn in a period."""
        return sum(one == period for each in self.drawn[app_tag] for one, _ in tuple(each))


def test_midnight_with_workers_whose_clocks_are_wrong(
    vhost: str, database: Database, clock: Clock, tmp_path: Path
) -> None:
    """Three workers, 90 s apart. Every number is unique in its day, no day comes twice.

    A lone caller of an ordered tag sees days and numbers rise; batches are of one day.
    """
    (tmp_path / "sitecustomize.py").write_text(SKEWED)
    for name, ordered in (("plain", 0), ("order", 1), ("batch", 0)):
        add(database, name, "day", ordered=ordered)
    clock.set(midnight(26) - timedelta(seconds=4))
    before, after = "2026-11-25", "2026-11-26"
    with ExitStack() as fleets:
        for offset in (-90, 0, 90):
            skew = {"PYTHONPATH": str(tmp_path), "TEST_CLOCK_OFFSET": str(offset)}
            fleets.enter_context(Fleet(vhost, clock.url, skew)).start(ready=False)
        fleet = fleets.enter_context(Fleet(vhost, clock.url))
        fleet.wait_ready(3)
        clock.set(midnight(26) - timedelta(seconds=3))
        time.sleep(1.5)  # so that all have looked at the clock
        callers = Callers(vhost)
        for app_tag, count in [("plain", 1), ("plain", 1), ("order", 1), ("batch", 7)]:
            callers.start(app_tag, count)
        callers.until(lambda: all(callers.seen(tag, after) > 50 for tag in callers.drawn))
    for app_tag, drawn in callers.drawn.items():
        everything = [one for each in drawn for one in each]
        assert len(set(everything)) == len(everything)
        assert {period for period, _ in everything} == {before, after}
        assert periods(database, app_tag) == [f"{app_tag}@{before}", f"{app_tag}@{after}"]
    (rising,) = callers.drawn["order"]
    assert rising == sorted(rising)


def test_a_row_is_made_once_and_not_before_its_time(database: Database) -> None:
    """Whatever a worker believes: the database's clock decides, and the second one finds it."""
    add(database, "slip", "day")
    with opened(address_of(database)) as store:
        utc = store.read_clock()
        settings = store.templates().rows["slip"]
        today = Period.at(PeriodKind.DAY, utc, settings.zone)
        row = NewRow.of_period(today.row_of("slip"), today, settings)
        assert store.add_row(row) is True
        assert store.add_row(row) is False
        tomorrow = today.next()
        with pytest.raises(PeriodNotBegunError):
            store.add_row(NewRow.of_period(tomorrow.row_of("slip"), tomorrow, settings))
        yesterday = today.previous().previous()
        assert not store.add_row(NewRow.of_period(yesterday.row_of("slip"), yesterday, settings))
    assert periods(database, "slip") == [today.row_of("slip")]
