"""The commands on tables that somebody else made: they do what was asked, or say what is wrong."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from devstack import Database
from devstack.servers._database import connect
from idalloc_worker.cli._main import run as idalloc_run
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.tags._settings import COLUMNS
from tests.integration.stores import TABLE, address_of, mark_of, opened, run

KEYED = "app_tag VARCHAR(32) PRIMARY KEY"
NUMBERS = "max_id BIGINT NOT NULL DEFAULT 0, step BIGINT NOT NULL"

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(
    database: Database, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Cli:
    """Run a command in this process; an exception that nobody expects is the test's failure."""
    monkeypatch.setenv("IDALLOC_MYSQL_URL", database.url)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = idalloc_run(list(arguments))
        out, err = capfd.readouterr()
        return code, out, err

    return invoke


def made(database: Database, columns: str, row: str) -> None:
    """Replace the table by another one with one row, whatever SQL mode that takes."""
    with closing(connect(database.server_url, database.name)) as connection:
        run(connection, "SET SESSION sql_mode = ''")
        run(connection, f"DROP TABLE {TABLE}")
        run(connection, f"CREATE TABLE {TABLE} ({columns})")
        run(connection, f"INSERT INTO {TABLE} VALUES ({row})")


# What is in `update_time` says nothing to idalloc

TIMES = [
    ("DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00'", "'0000-00-00 00:00:00'", None),
    (
        "TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00' ON UPDATE CURRENT_TIMESTAMP",
        "'0000-00-00 00:00:00'",
        None,
    ),
    ("DATE NOT NULL DEFAULT '0000-00-00'", "'2020-02-03'", "2020-02-03"),
    ("DATETIME(6)", "'2020-02-03 04:05:06.5'", "2020-02-03T04:05:06.500000"),
    ("TIMESTAMP NULL", "NULL", None),
    ("BIGINT NOT NULL DEFAULT 0", "1700000000", "1700000000"),
    ("INT UNSIGNED NOT NULL DEFAULT 0", "0", "0"),
    ("TIME", "'12:00:00'", "12:00:00"),
    ("YEAR", "2020", "2020"),
    ("VARCHAR(30)", "'yesterday'", "yesterday"),
]


@pytest.mark.parametrize(("kind", "value", "told"), TIMES, ids=[kind for kind, _, _ in TIMES])
def test_any_time_will_do(
    database: Database, cli: Cli, kind: str, value: str, told: str | None
) -> None:
    """Every command works, and JSON has text or null."""
    made(database, f"{KEYED}, {NUMBERS}, update_time {kind}", f"'order', 5, 10, {value}")
    code, out, _ = cli("tags", "list", "--json")
    [tag] = json.loads(out)
    assert (code, tag["max_id"], tag["update_time"]) == (0, 5, told)
    assert json.loads(cli("tags", "show", "order", "--json")[1]) == tag
    for command in (
        ["tags", "list"],
        ["tags", "show", "order"],
        ["tags", "set", "order", "--step", "20"],
        ["tags", "set", "order", "--max-id", "50"],
        ["tags", "raise", "order", "--to", "100"],
        ["migrate"],
        ["init"],
        ["tags", "set", "order", "--ceiling", "1000"],
        ["tags", "add", "other", "--step", "10"],
        ["tags", "remove", "other", "--yes"],
    ):
        code, _, err = cli(*command)
        assert code == 0, (command, err)
    assert database.query(f"SELECT max_id, step, ceiling FROM {TABLE} WHERE app_tag = 'order'") == [
        (100, 20, 1000)
    ]
    with opened(address_of(database)) as store:
        assert store.reserve(ReservationRequest("order", 1)).segment.left == 100


# Marks and steps


@pytest.fixture
def unset(database: Database) -> Database:
    made(database, f"{KEYED}, max_id BIGINT, step BIGINT", "'order', NULL, NULL")
    return database


@pytest.mark.usefixtures("unset")
def test_a_mark_that_is_not_set_is_shown(cli: Cli) -> None:
    """As what it is, and as null in JSON."""
    assert cli("tags", "list")[1].splitlines()[1].split() == ["order", "NULL", "NULL", "-"]
    [tag] = json.loads(cli("tags", "list", "--json")[1])
    assert (tag["max_id"], tag["step"], tag["space_used_percent"]) == (None, None, None)


@pytest.mark.parametrize(
    ("command", "row"),
    [
        (("raise", "order", "--to", "70"), (70, None)),
        (("raise", "order", "--to", "0"), (0, None)),
        (("set", "order", "--max-id", "70"), (70, None)),
        (("set", "order", "--step", "20"), (None, 20)),
    ],
)
def test_a_mark_that_is_not_set_can_be(
    unset: Database, cli: Cli, command: tuple[str, ...], row: tuple[int | None, ...]
) -> None:
    """It lies below all others."""
    code, out, err = cli("tags", *command)
    assert (code, err) == (0, "")
    assert "nothing" not in out
    assert unset.query(f"SELECT max_id, step FROM {TABLE}") == [row]


def test_a_tag_whose_mark_is_not_set_can_be_removed(unset: Database, cli: Cli) -> None:
    """The condition that its mark has not moved holds for NULL as well."""
    assert cli("tags", "remove", "order", "--yes")[0] == 0
    assert unset.query(f"SELECT * FROM {TABLE}") == []


def test_a_tag_that_moves_all_the_time_is_not_looked_at_for_ever(
    database: Database, cli: Cli
) -> None:
    """Nor one whose mark never equals what was read, as 0.1 does not in such a column."""
    made(database, f"{KEYED}, max_id FLOAT NOT NULL, step BIGINT NOT NULL", "'order', 0.1, 10")
    code, out, err = cli("tags", "remove", "order", "--yes")
    assert (code, out, "nothing was removed" in err) == (1, "", True)


def test_raising_to_where_it_is_says_so(database: Database, cli: Cli) -> None:
    """What was asked for is true, so it is no failure; nobody takes it for a change."""
    assert "nothing" not in cli("tags", "raise", "test_business", "--to", "100")[1]
    for mark in ("100", "40"):
        code, out, _ = cli("tags", "raise", "test_business", "--to", mark)
        assert (code, out.splitlines()[-1]) == (0, "nothing to raise: max_id is 100 already")
    assert mark_of(database, "test_business") == 100


@pytest.mark.parametrize(
    ("command", "column"),
    [
        (("raise", "order", "--to", "70"), "max_id"),
        (("set", "order", "--max-id", "70"), "max_id"),
        (("set", "order", "--step", "70"), "step"),
        (("set", "order", "--max-step", "70"), "max_step"),
        (("add", "new", "--step", "70"), "step"),
    ],
)
def test_what_is_not_kept_is_a_failure(
    database: Database, cli: Cli, command: tuple[str, ...], column: str
) -> None:
    """A command that changed nothing, or something else, does not end with 0."""
    database.query(f"INSERT INTO {TABLE} (app_tag, max_id, step) VALUES ('order', 5, 10)")
    for event, values in (("UPDATE", "OLD.{0}"), ("INSERT", "7")):
        changes = ", ".join(
            f"NEW.{name} = {values.format(name)}" for name in ("max_id", "step", "max_step")
        )
        database.query(
            f"CREATE TRIGGER keep_{event} BEFORE {event} ON {TABLE} FOR EACH ROW SET {changes}"
        )
    code, out, err = cli("tags", *command)
    assert (code, out) == (1, "")
    assert f"idalloc: {column} of '{command[1]}' is " in err
    assert "triggers" in err


def test_a_number_beyond_the_id_space_is_left_alone(database: Database, cli: Cli) -> None:
    """A step can be set whatever the mark says; only lowering the mark is refused."""
    columns = f"{KEYED}, max_id BIGINT UNSIGNED NOT NULL, step INT UNSIGNED NOT NULL"
    made(database, columns, f"'order', {2**64 - 1}, 10")
    assert cli("tags", "set", "order", "--step", "20")[0] == 0
    code, _, err = cli("tags", "set", "order", "--max-id", "50")
    assert (code, "hands out ids a second time" in err) == (1, True)


# Other columns


@pytest.mark.parametrize("command", [("tags", "add", "new", "--step", "10"), ("init",)])
def test_a_column_without_a_default_is_named(
    database: Database, cli: Cli, command: tuple[str, ...]
) -> None:
    """Along with what to do about it."""
    made(database, f"{KEYED}, {NUMBERS}, owner VARCHAR(20) NOT NULL", "'order', 5, 10, 'me'")
    code, out, err = cli(*command)
    assert (code, out) == (1, "")
    assert "ALTER TABLE segments ALTER owner SET DEFAULT" in err
    assert cli("tags", "set", "order", "--step", "20")[0] == 0


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("tags", "list"),
    ("tags", "list", "--json"),
    ("tags", "show", "order"),
    ("tags", "set", "order", "--step", "20"),
    ("tags", "set", "order", "--max-id", "20"),
    ("tags", "raise", "order", "--to", "20"),
    ("tags", "add", "new", "--step", "10"),
    ("tags", "remove", "order", "--yes"),
    ("init",),
    ("migrate",),
)


@pytest.mark.parametrize(
    ("columns", "row", "missing"),
    [
        (f"biz_tag VARCHAR(32) PRIMARY KEY, {NUMBERS}", "'order', 5, 10", "app_tag"),
        (f"{KEYED}, max_id BIGINT NOT NULL", "'order', 5", "step"),
        (f"{KEYED}, step BIGINT NOT NULL", "'order', 5", "max_id"),
    ],
    ids=["app_tag", "step", "max_id"],
)
def test_a_table_of_something_else_is_refused(
    database: Database, cli: Cli, columns: str, row: str, missing: str
) -> None:
    """By its name and that of the column that it lacks; it is left as it was."""
    made(database, columns, row)
    before = contents(database)
    for command in COMMANDS:
        code, out, err = cli(*command)
        assert (code, out) == (1, ""), command
        assert err.startswith(f"idalloc: table segments has no column {missing}, so it is not a")
        assert err.count("\n") == 1
    assert contents(database) == before


def contents(database: Database) -> list[object]:
    return [database.query(sql) for sql in (f"SHOW CREATE TABLE {TABLE}", f"SELECT * FROM {TABLE}")]


def test_settings_of_any_type_can_be_looked_at(database: Database, cli: Cli) -> None:
    """What JSON has no type for is text; bytes that are none are hexadecimal."""
    columns = (
        f"{KEYED}, {NUMBERS}, ordered VARCHAR(3), ceiling DOUBLE, target_cover DECIMAL(5, 2), "
        "max_step BIT(8), allowed_users BLOB"
    )
    made(database, columns, "'order', 5, 10, 'yes', 100.5, 1.5, b'111', x'ff00'")
    assert cli("tags", "list")[0] == 0
    tag: dict[str, Any] = json.loads(cli("tags", "show", "order", "--json")[1])
    assert {name: tag[name] for name in COLUMNS} == {
        "ordered": "yes",
        "ceiling": 100.5,
        "target_cover": "1.50",
        "max_step": "0x07",
        "max_count": None,  # the table has no such column
        "user_rate": None,
        "allowed_users": ["0xff00"],
        "new_per_minute": None,
        "period": None,
        "time_zone": None,
        "keep_periods": None,
    }


def test_rows_without_a_name_or_a_key_can_be_looked_at(database: Database, cli: Cli) -> None:
    """A table without a primary key may hold anything."""
    made(database, f"app_tag VARCHAR(32), {NUMBERS}", "NULL, 5, 10")
    assert cli("tags", "list")[1].splitlines()[1].split()[0] == "NULL"
    assert json.loads(cli("tags", "list", "--json")[1])[0]["app_tag"] is None


# Views


@pytest.fixture
def view(database: Database) -> Database:
    database.query(f"RENAME TABLE {TABLE} TO elsewhere")
    database.query(
        f"CREATE VIEW {TABLE} AS SELECT app_tag, max_id, step, update_time FROM elsewhere"
    )
    return database


@pytest.mark.usefixtures("view")
def test_a_view_is_told_as_one(cli: Cli) -> None:
    """What init would say of a table makes no sense there, and migrate can do nothing."""
    code, _, err = cli("init")
    assert (code, err.count("\n"), "segments is a view" in err) == (0, 1, True)
    code, out, err = cli("migrate")
    assert (code, out) == (1, "")
    assert "segments is a view, to which nothing can be added; add max_step, " in err
    assert cli("tags", "set", "test_business", "--step", "20")[0] == 0
    assert cli("tags", "add", "new", "--step", "20")[0] == 0
    assert cli("tags", "remove", "new", "--yes")[0] == 0


def test_a_bad_row_does_not_hide_the_others(database: Database) -> None:
    """Whoever looks whether rows were set back sees those that can be read."""
    made(database, f"{KEYED}, max_id BIGINT, step BIGINT NOT NULL", "'order', NULL, 10")
    database.query(f"INSERT INTO {TABLE} VALUES ('other', 7, 10)")
    with opened(address_of(database)) as store:
        assert store.read_marks(["order", "other"]) == {"other": 7}
