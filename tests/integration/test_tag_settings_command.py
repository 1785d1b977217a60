"""The real `idalloc migrate`, and what `idalloc tags` does with the settings of single tags."""

import json
from typing import Any

import pytest

from devstack import Database
from idalloc_worker.tags._settings import COLUMNS
from tests.integration.stores import TABLE, add_tag, mark_of, remake_table
from tests.integration.test_tags_command import Idalloc

FOUR_COLUMNS = (
    "app_tag VARCHAR(32) PRIMARY KEY, max_id BIGINT NOT NULL, step BIGINT NOT NULL, "
    "update_time DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
)
DEFAULTS: dict[str, Any] = dict.fromkeys(COLUMNS)


@pytest.fixture
def idalloc(database: Database) -> Idalloc:
    return Idalloc(database.url)


def shown(idalloc: Idalloc, app_tag: str = "order") -> dict[str, Any]:
    tag: dict[str, Any] = json.loads(idalloc.ok("tags", "show", app_tag, "--json"))
    return {name: tag[name] for name in DEFAULTS}


ALL = (
    *("--max-step", "5000", "--target-cover", "60", "--ceiling", "9007199254740991"),
    *("--allowed-users", " shop  billing ", "--ordered", "yes"),
    *("--max-count", "5000", "--user-rate", "200"),
    *("--period", "day", "--time-zone", "Europe/Berlin", "--keep-periods", "30"),
)


@pytest.mark.parametrize("command", ["add", "set"])
def test_every_setting_can_be_written_and_set_back(
    database: Database, idalloc: Idalloc, command: str
) -> None:
    """What was given is shown, and the word default sets it back."""
    if command == "set":
        add_tag(database, "order")
        idalloc.ok("tags", "set", "order", *ALL)
    else:
        idalloc.ok("tags", "add", "order", "--step", "10", *ALL)
    assert shown(idalloc) == {
        "max_step": 5000,
        "target_cover": 60,
        "ceiling": 2**53 - 1,
        "allowed_users": ["shop", "billing"],
        "ordered": True,
        "max_count": 5000,
        "user_rate": 200,
        "new_per_minute": None,
        "period": "day",
        "time_zone": "Europe/Berlin",
        "keep_periods": 30,
    }
    back = [word if word.startswith("--") else "default" for word in ALL]
    idalloc.ok("tags", "set", "order", *back)
    assert shown(idalloc) == DEFAULTS


def test_a_setting_that_is_not_given_stays(database: Database, idalloc: Idalloc) -> None:
    """`tags set` writes the columns of its options only."""
    add_tag(database, "order", max_id=7, step=10)
    idalloc.ok("tags", "set", "order", "--allow-duplicates", *ALL)
    idalloc.ok("tags", "set", "order", "--target-cover", "0", "--ordered", "no")
    assert shown(idalloc)["max_step"] == 5000
    assert (shown(idalloc)["target_cover"], shown(idalloc)["ordered"]) == (0, False)
    assert database.query(f"SELECT max_id, step FROM {TABLE} WHERE app_tag = 'order'") == [(7, 10)]


def test_a_pattern_is_written_under_its_name_only(database: Database, idalloc: Idalloc) -> None:
    """A tag that says it is one would hand out nothing any more."""
    idalloc.ok("tags", "add", "tenant-*", "--step", "10", "--new-per-minute", "60")
    assert shown(idalloc, "tenant-*")["new_per_minute"] == 60
    add_tag(database, "order")
    for command in ("set", "order"), ("add", "other", "--step", "10"):
        refused = idalloc("tags", *command, "--new-per-minute", "60")
        assert refused.returncode == 2
        assert "for patterns, whose names end in *" in refused.stderr
    odd = idalloc("tags", "add", "odd-*", "--step", "10")
    assert (odd.returncode, "odd-* is no pattern" in odd.stderr) == (0, True)


def test_a_tag_that_was_used_gets_no_periods_by_mistake(
    database: Database, idalloc: Idalloc
) -> None:
    """Its ids would come again, with nothing in the callers' tables to tell them apart."""
    add_tag(database, "order", max_id=7)
    refused = idalloc("tags", "set", "order", "--period", "month")
    assert refused.returncode == 1
    assert "7" in refused.stderr
    assert "--allow-duplicates" in refused.stderr
    assert shown(idalloc)["period"] is None
    idalloc.ok("tags", "set", "order", "--period", "month", "--allow-duplicates")
    idalloc.ok("tags", "set", "order", "--period", "year")
    for name in ("x" * 22, "x" * 28):
        long = idalloc("tags", "add", name, "--step", "5", "--period", "day")
        assert long.returncode == 2
        assert "at most 21 characters" in long.stderr
    odd = idalloc("tags", "add", "inv@2026-11", "--step", "5", "--period", "month")
    assert (odd.returncode, "the name of a period" in odd.stderr) == (2, True)
    late = idalloc("tags", "add", "inv", "--step", "5", "--period", "month", "--start", "9")
    assert (late.returncode, "begin with 1" in late.stderr) == (2, True)
    for option in ("--time-zone", "Europe/Berlin"), ("--keep-periods", "3"):
        idle = idalloc("tags", "add", "inv", "--step", "5", *option)
        assert (idle.returncode, f"{option[0]} is for tags with --period" in idle.stderr) == (
            2,
            True,
        )


def test_changes_reach_the_rows_of_the_periods(database: Database, idalloc: Idalloc) -> None:
    """Those of this tag only, and only what they have of it."""
    idalloc.ok("tags", "add", "inv", "--step", "5", "--period", "day")
    for name, period in (("inv@2026-11-26", "2026-11-26"), ("invoice@2026", "2026")):
        idalloc.ok("tags", "add", name, "--step", "5")
        database.query(f"UPDATE {TABLE} SET period = %s WHERE app_tag = %s", period, name)
    idalloc.ok("tags", "add", "inv@2026-11-25", "--step", "5")
    idalloc.ok("tags", "set", "inv", "--ceiling", "999", "--time-zone", "Asia/Tokyo", "--step", "9")
    rows = database.query(
        f"SELECT app_tag, step, ceiling, period, time_zone FROM {TABLE} WHERE app_tag LIKE 'inv%%' "
        "ORDER BY app_tag"
    )
    told = idalloc.ok("tags", "remove", "inv", "--yes")
    assert "the rows of its periods are still there" in told
    assert rows == [
        ("inv", 9, 999, "day", "Asia/Tokyo"),
        ("inv@2026-11-25", 5, None, None, None),
        ("inv@2026-11-26", 9, 999, "2026-11-26", None),
        ("invoice@2026", 5, None, "2026", None),
    ]


def test_the_table_shows_the_columns_in_use(database: Database, idalloc: Idalloc) -> None:
    """A list has a column for each setting that some tag has, and a dash for the others."""
    add_tag(database, "order")
    idalloc.ok("tags", "set", "order", "--ceiling", "999")
    heading, order, other = idalloc.ok("tags", "list").splitlines()
    assert heading.split() == ["TAG", "MAX_ID", "STEP", "UPDATED", "CEILING"]
    assert (order.split()[-1], other.split()[-1]) == ("999", "-")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--max-step", "0"),
        ("--target-cover", "-1"),
        ("--ceiling", "none"),
        ("--allowed-users", " "),
        ("--ordered", "perhaps"),
    ],
)
def test_a_bad_value_is_wrong_usage(idalloc: Idalloc, option: str, value: str) -> None:
    """A value that no row may have is refused by the name of the option."""
    assert option in idalloc.fails(2, "tags", "set", "test_business", option, value)


def test_an_older_table_names_the_command_that_helps(database: Database, idalloc: Idalloc) -> None:
    """On four columns all that needs no more works, and the rest says what is missing."""
    remake_table(database, FOUR_COLUMNS)
    idalloc.ok("tags", "add", "order", "--step", "10")
    idalloc.ok("tags", "set", "order", "--step", "20")
    assert shown(idalloc) == DEFAULTS
    for command in ("set", "add"):
        error = idalloc.fails(1, "tags", command, "order", "--step", "30", "--ceiling", "99")
        assert "has no columns ceiling; idalloc migrate adds them" in error
    assert database.query(f"SELECT step FROM {TABLE}") == [(20,)]


def test_raise_never_lowers(database: Database, idalloc: Idalloc) -> None:
    """`tags raise` makes max_id at least N, and can be repeated."""
    add_tag(database, "order", max_id=500)
    for mark, there in (("900", 900), ("900", 900), ("100", 900)):
        assert str(there) in idalloc.ok("tags", "raise", "order", "--to", mark)
        assert mark_of(database, "order") == there
    assert "'nobody' not found" in idalloc.fails(1, "tags", "raise", "nobody", "--to", "1")


def test_migrate_and_repeat(database: Database, idalloc: Idalloc) -> None:
    """The columns are added once, what was in the table stays, and so does its time."""
    remake_table(database, FOUR_COLUMNS)
    database.query(f"INSERT INTO {TABLE} VALUES ('order', 500, 10, '2001-01-01')")
    assert idalloc.ok("migrate").splitlines() == [f"added column {name}" for name in DEFAULTS]
    assert "nothing to add" in idalloc.ok("migrate")
    rows = database.query(f"SELECT app_tag, max_id, step, YEAR(update_time) FROM {TABLE}")
    assert rows == [("order", 500, 10, 2001)]
    idalloc.ok("tags", "set", "order", "--allow-duplicates", *ALL)
