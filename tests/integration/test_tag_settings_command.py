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
    }
    back = [word if word.startswith("--") else "default" for word in ALL]
    idalloc.ok("tags", "set", "order", *back)
    assert shown(idalloc) == DEFAULTS


def test_a_setting_that_is_not_given_stays(database: Database, idalloc: Idalloc) -> None:
    """`tags set` writes the columns of its options only."""
    add_tag(database, "order", max_id=7, step=10)
    idalloc.ok("tags", "set", "order", *ALL)
    idalloc.ok("tags", "set", "order", "--target-cover", "0", "--ordered", "no")
    assert shown(idalloc)["max_step"] == 5000
    assert (shown(idalloc)["target_cover"], shown(idalloc)["ordered"]) == (0, False)
    assert database.query(f"SELECT max_id, step FROM {TABLE} WHERE app_tag = 'order'") == [(7, 10)]


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
    idalloc.ok("tags", "set", "order", *ALL)
