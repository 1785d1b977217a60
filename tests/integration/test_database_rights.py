"""deploy/mysql/grants.sql: workers serve with what it gives them, and can do nothing else."""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from devstack import Database
from devstack.workers import Fleet
from idalloc_client import IdClient
from idalloc_worker.cli._main import cli
from idalloc_worker.tags._errors import StoreUnavailableError
from tests.guide import Guide

ROOT = Path(__file__).resolve().parents[2]
GRANTS = ROOT / "deploy/mysql/grants.sql"
CHANGELOG = ROOT / "CHANGELOG.md"


@dataclass(frozen=True)
class Users:
    """The two users of the file, under names that nobody else has."""

    url: str
    worker: str
    operator: str
    password: str

    def url_of(self, user: str) -> str:
        parts = urlsplit(self.url)
        address = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{user}:{self.password}@{address}").geturl()

    def run(self, user: str, *arguments: str) -> Result:
        environ = {"IDALLOC_MYSQL_URL": self.url_of(user)}
        return CliRunner().invoke(cli, arguments, env=environ)


@pytest.fixture
def users(database: Database) -> Iterator[Users]:
    """Make both, and give them what the file says for this test's database."""
    suffix = secrets.token_hex(4)
    made = Users(database.url, f"worker-{suffix}", f"operator-{suffix}", secrets.token_hex(8))
    both = (made.worker, made.operator)
    try:
        for name in both:
            database.query(f"CREATE USER '{name}'@'%' IDENTIFIED BY '{made.password}'")
        for statement in grants(database.name, made):
            database.query(statement)
        yield made
    finally:
        for name in both:
            database.query(f"DROP USER IF EXISTS '{name}'@'%'")


def grants(name: str, users: Users) -> list[str]:
    text = GRANTS.read_text("utf-8").replace("id_alloc_db.", f"{name}.")
    text = text.replace("'idalloc-operator'", f"'{users.operator}'")
    text = text.replace("'idalloc'", f"'{users.worker}'")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement for statement in text.split(";") if statement.strip()]


def test_a_worker_serves_and_gives_back(users: Users, vhost: str) -> None:
    """A lone worker that is stopped leaves the row where its last id was."""
    with Fleet(vhost, users.url_of(users.worker)) as fleet, IdClient(vhost, timeout=30) as client:
        (running,) = fleet.start()
        ids = client.next_ids("test_business", 250_000)
        assert running.terminate() == 0
        tail = running.tail()
    assert "denied" not in tail
    row = json.loads(users.run(users.operator, "tags", "show", "test_business", "--json").stdout)
    assert row["max_id"] == ids[-1] + 1


@pytest.mark.parametrize(
    ("right", "arguments"),
    [
        ("INSERT", ["tags", "add", "order", "--step", "5"]),
        ("DELETE", ["tags", "remove", "test_business", "--yes"]),
    ],
)
def test_what_a_worker_may_not_do_is_told(users: Users, right: str, arguments: list[str]) -> None:
    """By the name of the right, to whoever uses its login; an operator may."""
    refused = users.run(users.worker, *arguments)
    assert isinstance(refused.exception, StoreUnavailableError)
    assert f"{right} command denied" in str(refused.exception)
    assert users.password not in f"{refused.output}{refused.exception!r}"
    assert users.run(users.operator, *arguments).exit_code == 0


def test_an_operator_migrates_an_old_table(users: Users, database: Database) -> None:
    """Who serves meanwhile need not have the right; who has it not is told."""
    columns = ("max_step", "target_cover", "ceiling", "allowed_users", "ordered")
    dropped = ", ".join(f"DROP COLUMN {name}" for name in columns)
    database.query(f"ALTER TABLE segments {dropped}")
    refused = users.run(users.worker, "migrate")
    assert "ALTER command denied" in str(refused.exception)
    done = users.run(users.operator, "migrate")
    assert done.exit_code == 0, done.exception
    assert users.run(users.operator, "init").stdout.startswith("nothing to create")


def test_an_older_compose_set_up_gets_these_rights(users: Users, database: Database) -> None:
    """By the changelog's statements, after the image of MySQL gave the worker all there are."""
    old, new = f"'{users.worker}'@'%'", f"'{users.operator}'@'%'"
    escaped = database.name.replace("_", r"\_")
    database.query(f"GRANT ALL ON `{escaped}`.* TO {old}")
    assert users.run(users.worker, "tags", "add", "before", "--step", "5").exit_code == 0
    database.query(f"DROP USER {new}")
    upgrade = Guide(CHANGELOG)["An existing Docker Compose set-up"].statements
    for statement in upgrade:
        if "'root'" not in statement:  # the tests' own
            ours = statement.replace("'idalloc-operator'@'%'", new).replace("'idalloc'@'%'", old)
            database.query(re.sub("'MYSQL_.*?'", f"'{users.password}'", ours))
    for statement in grants(database.name, users):
        database.query(statement)
    refused = users.run(users.worker, "tags", "add", "order", "--step", "5")
    assert "INSERT command denied" in str(refused.exception)
    assert users.run(users.operator, "tags", "add", "order", "--step", "5").exit_code == 0
