"""The real `idalloc init` and `idalloc tags` against a real database."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from devstack import Database, TcpProxy
from devstack.workers import PATIENCE
from idalloc_schemas import MAX_ID
from idalloc_worker.cli import run
from idalloc_worker.tags._settings import COLUMNS
from tests.integration.stores import TABLE, add_tag, address_of, mark_of
from tests.waiting import wait_until

COMMAND = [sys.executable, "-m", "idalloc_worker"]


class Idalloc:
    """Runs the command in this process, with a database from the environment."""

    def __init__(self, mysql_url: str) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("IDALLOC_")}
        self.environment = kept | {"IDALLOC_MYSQL_URL": mysql_url}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with (
            patch.dict(os.environ, self.environment, clear=True),
            redirect_stdout(StringIO()) as output,
            redirect_stderr(StringIO()) as errors,
        ):
            code = run(arguments)
        return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())

    def ok(self, *arguments: str) -> str:
        """Run what must succeed, without a word on the standard error."""
        done = self(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def fails(self, code: int, *arguments: str) -> str:
        """Run what must fail with one line on the standard error."""
        done = self(*arguments)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.startswith("idalloc: ")
        assert done.stderr.count("\n") == 1
        return done.stderr


@pytest.fixture
def idalloc(database: Database) -> Idalloc:
    return Idalloc(database.url)


def row_of(database: Database, app_tag: str) -> list[tuple[Any, ...]]:
    return database.query(f"SELECT max_id, step FROM {TABLE} WHERE app_tag = %s", app_tag)


def test_list_shows_every_tag(database: Database, idalloc: Idalloc) -> None:
    """`tags list` prints one line per tag under a heading, in the order of the names."""
    add_tag(database, "order", 5, 7)
    heading, *lines = idalloc.ok("tags", "list").splitlines()
    assert heading.split() == ["TAG", "MAX_ID", "STEP", "UPDATED"]
    assert [line.split()[:3] for line in lines] == [
        ["order", "5", "7"],
        ["test_business", "0", "100000"],
    ]


def test_list_writes_json(database: Database, idalloc: Idalloc) -> None:
    """`tags list --json` writes an array with whole numbers, also for an empty table."""
    [tag] = json.loads(idalloc.ok("tags", "list", "--json"))
    assert tag.pop("update_time")
    assert tag == {
        "app_tag": "test_business",
        "max_id": 0,
        "step": 100_000,
        "space_used_percent": 0,
        **dict.fromkeys(COLUMNS),
    }
    database.query(f"DELETE FROM {TABLE}")
    assert json.loads(idalloc.ok("tags", "list", "--json")) == []


def test_show_writes_one_tag(database: Database, idalloc: Idalloc) -> None:
    """`tags show` knows one tag, as text and as JSON, and numbers of 63 bits survive."""
    add_tag(database, "order", MAX_ID, 7)
    assert str(MAX_ID) in idalloc.ok("tags", "show", "order")
    assert json.loads(idalloc.ok("tags", "show", "order", "--json"))["max_id"] == MAX_ID


@pytest.mark.parametrize("command", [["show"], ["set", "--step", "1"], ["remove", "--yes"]])
def test_an_unknown_tag_fails(idalloc: Idalloc, command: list[str]) -> None:
    """What needs a tag says so if it is missing, with exit code 1."""
    assert "'nobody' not found" in idalloc.fails(1, "tags", *command, "nobody")


def test_add_makes_a_row(database: Database, idalloc: Idalloc) -> None:
    """`tags add` begins at 0, or where --start says."""
    idalloc.ok("tags", "add", "order", "--step", "10")
    idalloc.ok("tags", "add", "invoice", "--step", "20", "--start", "5000")
    assert (row_of(database, "order"), row_of(database, "invoice")) == ([(0, 10)], [(5000, 20)])


def test_add_leaves_an_existing_tag_alone(database: Database, idalloc: Idalloc) -> None:
    """Adding a tag that exists is an error and changes nothing."""
    add_tag(database, "order", 500, 10)
    error = idalloc.fails(1, "tags", "add", "order", "--step", "99")
    assert "exists already" in error
    assert row_of(database, "order") == [(500, 10)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["order"],
        ["order", "--step", "0"],
        ["order", "--step", "-1"],
        ["order", "--step", str(MAX_ID + 1)],
        ["order", "--step", "ten"],
        ["order", "--step", "1", "--start", "-1"],
        ["", "--step", "1"],
        ["with space", "--step", "1"],
        ["t" * 33, "--step", "1"],
        ["naïve", "--step", "1"],
        ["line\n", "--step", "1"],
    ],
)
def test_add_checks_what_it_is_given(
    database: Database, idalloc: Idalloc, arguments: list[str]
) -> None:
    """Wrong names and numbers are usage errors with exit code 2, and nothing is added."""
    idalloc.fails(2, "tags", "add", *arguments)
    assert database.query(f"SELECT COUNT(*) FROM {TABLE}") == [(1,)]


def test_set_changes_the_step_alone(database: Database, idalloc: Idalloc) -> None:
    """A new step leaves the mark where it is."""
    add_tag(database, "order", 500, 10)
    idalloc.ok("tags", "set", "order", "--step", "25")
    assert row_of(database, "order") == [(500, 25)]


def test_set_raises_the_mark_freely(database: Database, idalloc: Idalloc) -> None:
    """Raising max_id skips ids and needs no permission; repeating it is no error."""
    add_tag(database, "order", 500, 10)
    idalloc.ok("tags", "set", "order", "--max-id", "900", "--step", "20")
    idalloc.ok("tags", "set", "order", "--max-id", "900")
    assert row_of(database, "order") == [(900, 20)]


def test_set_refuses_to_lower_the_mark(database: Database, idalloc: Idalloc) -> None:
    """Lowering max_id is refused with the reason and the way to do it, and changes nothing."""
    add_tag(database, "order", 500, 10)
    error = idalloc.fails(1, "tags", "set", "order", "--max-id", "499", "--step", "20")
    assert "a second time" in error
    assert "stop the workers" in error
    assert "--allow-duplicates" in error
    assert row_of(database, "order") == [(500, 10)]


def test_set_lowers_the_mark_if_told_to(database: Database, idalloc: Idalloc) -> None:
    """With --allow-duplicates max_id can be set back."""
    add_tag(database, "order", 500, 10)
    idalloc.ok("tags", "set", "order", "--max-id", "3", "--allow-duplicates")
    assert row_of(database, "order") == [(3, 10)]


def test_set_wants_something_to_set(idalloc: Idalloc) -> None:
    """`tags set` with no option is a usage error."""
    assert "--step or --max-id" in idalloc.fails(2, "tags", "set", "test_business")


def test_remove_needs_a_yes_where_nobody_can_answer(database: Database, idalloc: Idalloc) -> None:
    """Without a terminal `tags remove` refuses unless it has --yes."""
    assert "--yes" in idalloc.fails(2, "tags", "remove", "test_business")
    assert row_of(database, "test_business") == [(0, 100_000)]
    assert "--start 0" in idalloc.ok("tags", "remove", "test_business", "--yes")
    assert row_of(database, "test_business") == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 1, 1), ("", 1, 1)])
def test_remove_asks_at_a_terminal(
    database: Database, idalloc: Idalloc, answer: str, code: int, left: int
) -> None:
    """At a terminal `tags remove` asks, and only a yes removes."""
    with at_terminal(idalloc, "tags", "remove", "test_business") as (process, terminal):
        read_until(terminal, b"[y/N]")
        os.write(terminal, answer.encode() + b"\n")
        assert process.wait(PATIENCE) == code
    assert len(row_of(database, "test_business")) == left


def test_ctrl_c_at_the_question_ends_with_130(database: Database, idalloc: Idalloc) -> None:
    """An interrupted command removes nothing and says 130, as shells do."""
    with at_terminal(idalloc, "tags", "remove", "test_business") as (process, terminal):
        read_until(terminal, b"[y/N]")
        press_ctrl_c_until_it_ends(process, terminal)
        assert process.returncode in {130, -signal.SIGINT}  # 130 to a shell, either way
    assert len(row_of(database, "test_business")) == 1


def heed_sigint() -> None:
    """Undo what a shell does to commands that it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_sigint_while_the_database_is_silent_ends_with_130(database: Database) -> None:
    """An interrupt also ends a command that waits for the database, without a traceback."""
    address = address_of(database)
    with TcpProxy(address.host, address.port) as proxy:
        proxy.pause()
        idalloc = Idalloc(f"mysql://u:pw@127.0.0.1:{proxy.port}/x")
        with subprocess.Popen(
            [*COMMAND, "tags", "list"],
            env=idalloc.environment,
            stderr=subprocess.PIPE,
            preexec_fn=heed_sigint,  # noqa: PLW1509  # no lock is taken
        ) as process:
            wait_until(lambda: proxy.accepted == 1)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in errors


def test_a_reader_that_goes_away_is_no_accident(database: Database, idalloc: Idalloc) -> None:
    """`idalloc tags list | head -1` writes nothing to the standard error."""
    for number in range(200):
        add_tag(database, f"tag-{number}")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "tags", "list"],
        env=idalloc.environment,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_full_disk_is_told_in_one_line(idalloc: Idalloc) -> None:
    """Output that cannot be written is an error without a traceback."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "tags", "list"],
            env=idalloc.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("idalloc: ")
    assert "Traceback" not in done.stderr


def test_init_creates_and_repeats(mysql_url: str, database: Database) -> None:
    """`idalloc init` creates database and table, says so, and is safe to repeat."""
    database.query(f"DROP DATABASE {database.name}")
    idalloc = Idalloc(f"{mysql_url}/{database.name}")
    assert idalloc.ok("init").splitlines() == [
        f"created database {database.name}",
        f"created table {TABLE}",
        "created app_tag test_business",
    ]
    idalloc.ok("tags", "set", "test_business", "--max-id", "77")
    assert "nothing to create" in idalloc.ok("init")
    assert mark_of(database, "test_business") == 77


def test_a_config_file_names_database_and_table(database: Database, tmp_path: Path) -> None:
    """--config works before and after the subcommand, and names the table as well."""
    config = tmp_path / "idalloc.toml"
    config.touch(mode=0o600)  # else it is warned of: it has a password
    config.write_text(f'mysql_url = "{database.url}"\ntable = "mine"\n')
    idalloc = Idalloc("")
    idalloc.ok("--config", str(config), "init")
    idalloc.ok("tags", "--config", str(config), "set", "test_business", "--step", "5")
    idalloc.ok("tags", "list", "--config", str(config))
    assert database.query("SELECT step FROM mine") == [(5,)]


def test_a_wrong_password_stays_secret(database: Database) -> None:
    """A refused login is one line, with exit code 1 and no password."""
    address = address_of(database)
    idalloc = Idalloc(f"mysql://{address.user}:s3cret@{address.host}:{address.port}/x")
    assert "s3cret" not in idalloc.fails(1, "tags", "list")


@contextmanager
def at_terminal(idalloc: Idalloc, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command with a terminal of its own; give the process and the terminal's far end."""
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_AT_TERMINAL, *COMMAND, *arguments],
        env=idalloc.environment,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
        preexec_fn=heed_sigint,  # noqa: PLW1509  # no lock is taken
    )
    os.close(its_end)
    try:
        yield process, terminal
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def press_ctrl_c_until_it_ends(process: subprocess.Popen[bytes], terminal: int) -> None:
    """Press it again if need be: Python misses a signal that comes just before it reads a line."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < deadline, "it does not end"
        with contextlib.suppress(OSError):  # it has gone
            os.write(terminal, b"\x03")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)


RUN_AT_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it
os.execv(sys.argv[1], sys.argv[1:])
"""


def read_until(terminal: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 1024)
