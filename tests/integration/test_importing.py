"""`idalloc tags import` and what docs/migrating.md says of it, beside counters that are in use."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness.site import redis_server
from devstack import Database, scratch_database
from devstack.history import Reply
from devstack.servers._install import ensure_packages
from devstack.workers import PATIENCE, Fleet
from idalloc_schemas import MAX_ID
from idalloc_worker.store import _takeover
from tests.guide import MIGRATING, Guide, Section
from tests.integration.roll_out import TAG, RollOut
from tests.integration.stores import TABLE, add_tag, address_of, mark_of
from tests.integration.test_tags_command import Idalloc
from tests.old_systems import (
    COSID_TABLE,
    VITESS_TABLE,
    CosIdNode,
    OldNode,
    TagGoneError,
    VitessTablet,
)

GUIDE = Guide(MIGRATING)
BLOCK = 10_000_000


@pytest.fixture
def idalloc(database: Database) -> Idalloc:
    return Idalloc(database.url)


@pytest.fixture
def elsewhere(mysql_url: str, idalloc: Idalloc) -> Iterator[Database]:
    """Give a database of the other system's, which the command is told of."""
    with scratch_database(mysql_url) as database:
        idalloc.environment["IDALLOC_IMPORT_URL"] = database.url
        yield database


@pytest.fixture
def cosid(elsewhere: Database) -> Database:
    elsewhere.query(COSID_TABLE)
    elsewhere.query(f"INSERT INTO cosid (name, last_max_id) VALUES ('shop.{TAG}', 2000)")
    return elsewhere


@pytest.fixture
def vitess(elsewhere: Database) -> Database:
    elsewhere.query(VITESS_TABLE)
    elsewhere.query("INSERT INTO order_seq VALUES (0, 2001, 10)")
    return elsewhere


def row_of(database: Database, app_tag: str = TAG) -> tuple[object, ...]:
    sql = f"SELECT max_id, ceiling, step FROM {TABLE} WHERE app_tag = '{app_tag}'"
    return next(iter(database.query(sql)), ())


def imported(idalloc: Idalloc, source: str, *arguments: str) -> str:
    names = {"cosid": [f"shop.{TAG}"], "vitess": ["order_seq"]}[source]
    strip = ("--strip", "shop.", "--strip", "_seq", "--step", "10")
    return idalloc.ok("tags", "import", source, *names, *strip, *arguments)


@pytest.fixture(params=["cosid", "vitess"])
def source(request: pytest.FixtureRequest) -> str:
    """Name a system, whose counter has reserved the ids up to 2000."""
    request.getfixturevalue(request.param)
    return str(request.param)


def node_of(source: str, database: Database) -> OldNode:
    if source == "cosid":
        return CosIdNode("old", TAG, database)
    return VitessTablet("old", TAG, database)


def test_a_block_lies_between_the_ids_of_the_other_system(
    database: Database, idalloc: Idalloc, elsewhere: Database, source: str
) -> None:
    """From the first id that it has not reserved to the last before those that it gets next."""
    with closing(node_of(source, elsewhere)) as node:
        before = node.reserve()
        told = imported(idalloc, source, "--block", "100", "--dry-run")
        assert (told, row_of(database)) == (
            "order would get ids from 2011 to 2110 (a new tag)\n",
            (),
        )
        told = imported(idalloc, source, "--block", "100")
        assert told == "order gets ids from 2011 to 2110 (a new tag)\n"
        assert (before[-1], *row_of(database), node.reserve()[0]) == (2010, 2011, 2110, 10, 2111)


def test_another_block_takes_the_place_of_the_first(
    database: Database, idalloc: Idalloc, elsewhere: Database, source: str
) -> None:
    """Above it, and what the other system has got in between stays the other system's."""
    with closing(node_of(source, elsewhere)) as node:
        imported(idalloc, source, "--block", "100")
        assert node.reserve()[-1] == 2110
        told = imported(idalloc, source, "--block", "100")
        assert told == "order gets ids from 2111 to 2210\n"
        assert row_of(database)[:2] == (2111, 2210)


def test_what_is_off_is_gone_on_with(database: Database, idalloc: Idalloc, source: str) -> None:
    """Above all that it has reserved, without a ceiling; again it changes nothing."""
    imported(idalloc, source, "--block", "100")
    for _ in range(2):
        assert imported(idalloc, source, "--off") == "order gets ids from 2101 on\n"
        assert row_of(database)[:2] == (2101, None)
    database.query(f"UPDATE {TABLE} SET max_id = 5000 WHERE app_tag = '{TAG}'")
    imported(idalloc, source, "--off")
    assert row_of(database)[:2] == (5000, None)


def test_a_counter_that_moves_meanwhile_is_read_again(
    database: Database,
    idalloc: Idalloc,
    elsewhere: Database,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ids that somebody reserves between the look and the change are in no block."""
    moved = _takeover._moved
    with closing(node_of(source, elsewhere)) as node:
        reserved: list[Sequence[int]] = []

        def disturbed(*arguments: object) -> bool:
            if len(reserved) < 3:
                reserved.append(node.reserve())
            return moved(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(_takeover, "_moved", disturbed)
        told = imported(idalloc, source, "--block", "100")
        assert told == "order gets ids from 2031 to 2130 (a new tag)\n"
        assert [ids[0] for ids in reserved] == [2001, 2011, 2021]
        assert (*row_of(database)[:2], node.reserve()[0]) == (2031, 2130, 2131)
        monkeypatch.setattr(_takeover, "_moved", lambda *_: False)
        monkeypatch.setattr(_takeover, "_TRIES", 3)
        with pytest.raises(AssertionError):
            imported(idalloc, source, "--block", "100")
        assert row_of(database)[:2] == (2031, 2130)


def test_all_rows_of_cosid_can_be_taken(
    database: Database, idalloc: Idalloc, cosid: Database
) -> None:
    """Or those that are named; nothing is changed where one of them is not there."""
    cosid.query("INSERT INTO cosid (name, last_max_id) VALUES ('shop.bill', 0)")
    command = ("tags", "import", "cosid", "--strip", "shop.", "--step", "10", "--off")
    assert "no row shop.gone" in idalloc.fails(1, *command, "shop.bill", "shop.gone")
    assert row_of(database, "bill") == ()
    assert idalloc.ok(*command).splitlines() == [
        "bill gets ids from 1 on (a new tag)",
        "order gets ids from 2001 on (a new tag)",
    ]


def test_two_counters_do_not_become_one_tag(
    database: Database, idalloc: Idalloc, cosid: Database
) -> None:
    """Each has ids of its own, which are the same numbers."""
    cosid.query("INSERT INTO cosid (name, last_max_id) VALUES ('old.order', 0)")
    command = ("tags", "import", "cosid", "--strip", "shop.", "--strip", "old.", "--step", "10")
    assert "one tag" in idalloc.fails(1, *command, "--off")
    assert row_of(database) == ()


def test_a_name_that_is_no_tag_is_refused(
    database: Database, idalloc: Idalloc, cosid: Database
) -> None:
    """Before any counter is moved."""
    name = "shop." + "x" * 33
    cosid.query(f"INSERT INTO cosid (name, last_max_id) VALUES ('{name}', 0)")
    command = ("tags", "import", "cosid", "--strip", "shop.", "--step", "10", "--block", "100")
    assert "not an app tag" in idalloc.fails(2, *command)
    assert cosid.query("SELECT MAX(last_max_id) FROM cosid") == [(2000,)]
    assert row_of(database) == ()


def test_a_tag_that_has_come_further_gets_no_block(
    database: Database, idalloc: Idalloc, cosid: Database
) -> None:
    """Its row would have to be lowered; the counter stays where it is."""
    add_tag(database, TAG, 2002, 10)
    command = ("tags", "import", "cosid", "--strip", "shop.", "--step", "10", "--block", "100")
    assert "order has come to 2002" in idalloc.fails(1, *command)
    assert cosid.query("SELECT MAX(last_max_id) FROM cosid") == [(2000,)]


@pytest.mark.parametrize("last", [MAX_ID - 50, MAX_ID, 2**64 - 1])
def test_a_counter_at_the_end_of_the_ids_gives_none(
    database: Database, idalloc: Idalloc, cosid: Database, last: int
) -> None:
    """CosId's column is an unsigned one."""
    cosid.query(f"UPDATE cosid SET last_max_id = {last}")
    command = ("tags", "import", "cosid", "--strip", "shop.", "--step", "10", "--block", "100")
    idalloc.fails(1, *command)
    assert row_of(database) == ()


def test_what_is_no_counter_is_told(idalloc: Idalloc, vitess: Database) -> None:
    """A sequence without its row, a table that is not there, a user without rights."""
    command = ("tags", "import", "vitess", "--step", "10", "--off")
    idalloc.fails(1, *command, "gone_seq")
    vitess.query("DELETE FROM order_seq")
    assert "whose id is 0" in idalloc.fails(1, *command, "order_seq")
    user = f"import_{vitess.name[-12:]}"
    vitess.query(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    try:
        address = replace(address_of(vitess), user=user, password="pw")
        url = f"mysql://{user}:pw@{address.host}:{address.port}/{vitess.name}"
        idalloc.fails(1, *command, "order_seq", "--url", url)
    finally:
        vitess.query(f"DROP USER '{user}'@'%'")


@pytest.mark.parametrize(
    "arguments",
    [("cosid",), ("cosid", "--off", "--block", "7"), ("vitess", "--off"), ("lines", "--off")],
)
def test_what_makes_no_sense_is_misused(idalloc: Idalloc, arguments: tuple[str, ...]) -> None:
    """Whether the other system goes on has to be said."""
    idalloc.fails(2, "tags", "import", "--step", "10", *arguments)


def test_lines_have_names_and_last_ids(
    database: Database, idalloc: Idalloc, tmp_path: Path
) -> None:
    """Of any system; with a block these are the ids that it has passed over."""
    file = tmp_path / "counters"
    file.write_text("order 2000\nshop bill 70\n")
    command = ("tags", "import", "lines", str(file), "--step", "10", "--strip", "shop ")
    idalloc.ok(*command, "--off")
    assert (row_of(database), row_of(database, "bill")) == ((2001, None, 10), (71, None, 10))
    file.write_text("order 3000\n")
    idalloc.ok(*command, "--block", "500")
    assert row_of(database) == (2501, 3000, 10)
    file.write_text("order 3000\norder x\n")
    assert "'order x'" in idalloc.fails(2, *command, "--off")
    file.write_text("order 3000\n")
    idalloc.fails(1, *command, "--block", "5000")


@pytest.fixture
def roll_out(fleet: Fleet, database: Database, idalloc: Idalloc) -> Iterator[RollOut]:
    with RollOut(fleet, database) as running:
        running.idalloc = idalloc
        yield running


@pytest.mark.long
def test_cosid_goes_on_above_its_block(
    roll_out: RollOut, database: Database, cosid: Database
) -> None:
    """From CosId to idalloc and back: no id twice, though all run at once in each stage."""
    old = roll_out.start_nodes([CosIdNode(f"cosid-{number}", TAG, cosid) for number in range(2)])
    roll_out.go_on()
    roll_out.do(GUIDE["Cut a block out of CosId"])
    roll_out.fleet.start(2)
    roll_out.move_callers()
    roll_out.go_on()
    assert row_of(database)[1] is not None
    gone = GUIDE["When CosId is gone"]
    execute(cosid, gone)
    for forgotten in old:
        roll_out.expect_end(forgotten, TagGoneError)
    roll_out.do(gone)
    assert row_of(database)[1] is None
    roll_out.fleet.start(1)
    roll_out.go_on()
    back = GUIDE["Back to CosId"]
    roll_out.do(back)
    assert mark_of(database, TAG) <= 60_000_001
    execute(cosid, back)
    roll_out.start_nodes([CosIdNode(f"again-{number}", TAG, cosid) for number in range(2)])
    roll_out.go_on()
    roll_out.judge()


@pytest.mark.long
def test_a_sequence_goes_on_above_its_block(
    roll_out: RollOut, database: Database, vitess: Database
) -> None:
    """From Vitess to idalloc, with both in use, and at last idalloc alone."""
    old = roll_out.start_nodes([VitessTablet("tablet", TAG, vitess)])
    roll_out.go_on()
    roll_out.do(GUIDE["Cut a block out of a sequence"])
    roll_out.fleet.start(2)
    roll_out.move_callers()
    roll_out.go_on()
    roll_out.stop(old)
    roll_out.do(GUIDE["When the sequence is gone"])
    assert row_of(database)[1] is None
    roll_out.fleet.start(1)
    roll_out.go_on()
    roll_out.judge()


def execute(database: Database, section: Section) -> None:
    for statement in section.statements:
        database.query(statement)


class Redis:
    """What clients of a real server do."""

    def __init__(self, port: int) -> None:
        self._port = port

    def cli(self, *words: str) -> str:
        done = subprocess.run(
            ["redis-cli", "-p", str(self._port), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout.strip()

    def caller(self, name: str) -> Callable[[], Reply]:
        def draw() -> Reply:
            sent_at = time.monotonic()
            answer = self.cli("INCR", TAG)
            if not answer.isdecimal():
                raise TagGoneError(answer)
            one = int(answer)
            return Reply(TAG, ((one, one + 1),), name, name, sent_at, time.monotonic())

        return draw

    def do(self, section: Section, environment: dict[str, str]) -> None:
        """Run a section's commands in a shell, as its reader would."""
        client = f'redis-cli() {{ command redis-cli -p {self._port} "$@"; }}'
        script = "\n".join(["set -e -o pipefail", client, *section._blocks("sh")])
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = environment | {"PATH": programs}
        subprocess.run(["bash", "-c", script], env=environment, check=True, timeout=PATIENCE)


@pytest.fixture
def redis() -> Iterator[Redis]:
    """Start a server, which is installed where there is none."""
    if shutil.which("redis-server") is None:
        ensure_packages(["redis-server"])
    with redis_server() as (port, _):
        yield Redis(port)


@pytest.mark.long
def test_redis_goes_on_above_its_block(
    redis: Redis, roll_out: RollOut, database: Database, idalloc: Idalloc
) -> None:
    """INCR and idalloc give no id twice, and INCR fails for whoever is forgotten."""
    redis.cli("SET", TAG, "2000")
    old = roll_out.start(*(redis.caller(f"redis-{number}") for number in range(2)))
    roll_out.go_on()
    redis.do(GUIDE["Cut a block out of Redis"], idalloc.environment)
    start, ceiling, _ = row_of(database)
    assert (int(str(ceiling)) - int(str(start)) + 1) == BLOCK
    roll_out.fleet.start(2)
    roll_out.move_callers()
    roll_out.go_on()
    redis.do(GUIDE["When Redis is gone"], idalloc.environment)
    for forgotten in old:
        roll_out.expect_end(forgotten, TagGoneError)
    assert row_of(database)[1] is None
    roll_out.fleet.start(1)
    roll_out.go_on()
    roll_out.judge()
