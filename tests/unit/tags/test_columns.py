"""Each setting of a tag is everywhere where settings are: nothing has a list of its own."""

import ast
import re

import click
import pytest

from idalloc_worker.cli._tags import _print_table, add, set_tag
from idalloc_worker.mysql._sql import CREATE_TABLE
from idalloc_worker.store._tags import TagRow
from idalloc_worker.tags._settings import AUTHORITY, COLUMNS
from tests.doc_tables import ROOT, plain, rows, says

SCHEMA = (ROOT / "schema.sql").read_text()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_setting_is_read_where_its_record_says(name: str) -> None:
    """So that a newcomer finds what it does, and none is without effect."""
    file = f"worker/idalloc_worker/{COLUMNS[name].read_by.replace('.', '/')}.py"
    nodes = ast.walk(ast.parse((ROOT / file).read_text()))
    assert name in {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_those_that_say_whether_ids_may_be_reserved() -> None:
    """They are looked at again in the statement that reserves."""
    assert set(AUTHORITY) == {"ordered", "ceiling", "allowed_users"}


def test_the_schema_has_them() -> None:
    """schema.sql creates what `idalloc init` creates, and says of each column what it is for."""
    found = re.search(r"CREATE TABLE .*?;", SCHEMA, re.DOTALL)
    assert found is not None
    assert found[0].strip(";").split() == CREATE_TABLE.on("segments").replace("`", "").split()
    assert re.findall(r"^-- (\w+): ", SCHEMA, re.MULTILINE)[-len(COLUMNS) :] == [*COLUMNS]


def test_the_documentation_has_them() -> None:
    """The table of settings has their names, defaults and meanings."""
    step, *told = rows("docs/tags.md", "column")
    assert step[0] == "`step`"
    assert [plain(name) for name, _, _ in told] == [*COLUMNS]
    for (_, default, meaning), column in zip(told, COLUMNS.values(), strict=True):
        assert plain(default) == column.default
        assert says(meaning, column.help), f"{meaning!r} does not begin with {column.help!r}"


@pytest.mark.parametrize("command", [add, set_tag])
def test_the_command_line_has_them(command: click.Command) -> None:
    """Each has an option, with the help of its record."""
    options = {one.name: one for one in command.params if isinstance(one, click.Option)}
    for name, column in COLUMNS.items():
        assert options[name].help == column.help
        assert options[name].metavar == f"{column.metavar}|default"


def test_the_table_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Each that is in use has a column, the texts last."""
    used = dict.fromkeys(COLUMNS, 7)
    _print_table([TagRow("order", 0, 1, None, used)])
    heads = capsys.readouterr().out.splitlines()[0].split()
    assert sorted(heads[4:]) == sorted(map(str.upper, COLUMNS))
    assert heads[-3:] == ["ALLOWED_USERS", "PERIOD", "TIME_ZONE"]
