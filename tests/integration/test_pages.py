"""Every block of the documentation is run against real servers, in the order of its page.

A page's blocks share a shell's variables, a folder, and Python's names, as for a reader who follows
it from top to bottom. Only addresses are others: hosts, ports, and TLS, which private servers lack.
"""

import ast
import asyncio
import doctest
import inspect
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import prometheus_client
import pytest

from devstack import Database, Management, PrivateMySql, PrivateRabbitMq, private_mysql
from devstack.servers._database import connect
from devstack.servers._ports import free_port
from devstack.workers import PATIENCE, Fleet, Worker
from idalloc_client import IdClient
from idalloc_worker._probe import VARIABLE, probe
from tests.doc_tables import plain, rows
from tests.foreign import ForeignClient
from tests.guide import MIGRATING
from tests.pages import PAGES, ROOT, RUN, Block, blocks, name_of

pytestmark = pytest.mark.long

OPERATOR = "admin"
PASSWORDS = {
    "IDALLOC_BROKER_PASSWORD": "operator",
    "IDALLOC_WORKER_PASSWORD": "printed",
    "IDALLOC_CALLER_PASSWORD": "secret",
}
WORKERS = {"IDALLOC_WAIT_TIMEOUT": "20", "IDALLOC_REFILL_TIMEOUT": "20"}  # of a busy machine
FIRST_STEPS = ROOT / "README.md"
"""The page whose reader has nothing yet; all others begin with what it sets up."""


def runnable(page: Path) -> list[Block]:
    """Choose what this test runs; tests/unit/repository/test_docs.py has an eye on the rest."""
    return [
        block
        for block in blocks(page)
        if page != MIGRATING and block.language in RUN and not (block.reason or block.by_itself)
    ]


@dataclass(frozen=True)
class Servers:
    """A broker and a database that the pages have for themselves."""

    broker: PrivateRabbitMq
    mysql: PrivateMySql

    def empty(self) -> None:
        """Take away what a page before has made."""
        management = Management(self.broker.management_url)
        for vhost in management.get("/api/vhosts"):
            if vhost["name"] != "/":
                management.delete(f"/api/vhosts/{vhost['name']}")
        for user in management.get("/api/users"):
            if user["name"] != OPERATOR:
                management.delete(f"/api/users/{user['name']}")
        self.ask_database(
            "DROP DATABASE IF EXISTS id_alloc_db; DROP USER IF EXISTS idalloc, 'idalloc-operator'"
        )

    def ask_database(self, statements: str) -> None:
        """Run statements as the database's administrator."""
        server = self.mysql.url.replace("idalloc:idalloc@", f"{OPERATOR}:{OPERATOR}@")
        with closing(connect(server)) as session, session.cursor() as cursor:
            cursor.execute(statements)
            while cursor.nextset():
                pass

    def addresses(self, text: str) -> str:
        """Put the addresses of these servers in the place of a page's."""
        http = self.broker.management_url.rpartition(":")[2]
        text = text.replace("@rabbitmq:15672", f"@127.0.0.1:{http}")
        text = text.replace("@rabbitmq/", f"@127.0.0.1:{self.broker.port}/")
        return re.sub(r"@mysql/(\w+)\?[^\s'\"]+", rf"@127.0.0.1:{self.mysql.port}/\1", text)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as running:
        broker = PrivateRabbitMq(user=OPERATOR, password=PASSWORDS["IDALLOC_BROKER_PASSWORD"])
        mysql = private_mysql()
        for one in (broker, mysql):
            one.start()
            running.callback(one.close)
        # The pages have a user of the name that our own administrator has.
        server = Database(mysql.url, "mysql")
        server.query(f"CREATE USER {OPERATOR} IDENTIFIED BY '{OPERATOR}'")
        server.query(f"GRANT ALL ON *.* TO {OPERATOR} WITH GRANT OPTION")
        yield Servers(broker, mysql)


class Reader:
    """Does what a page says."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        self._servers = servers
        self._folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith("IDALLOC_")}
        programs = f"{Path(sys.executable).parent}:{kept['PATH']}"
        self._environment = kept | PASSWORDS | WORKERS | {"PATH": programs}
        self._port = free_port()
        self._workers: list[Worker] = []
        self._names: dict[str, Any] = {}
        self._loop = asyncio.Runner()
        self._ends = ExitStack()
        self._ends.callback(self._loop.close)
        self._ends.callback(self._close_clients)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _close_clients(self) -> None:
        """End what a page leaves open, as the end of a program would."""
        for value in self._names.values():
            if isinstance(value, IdClient):
                value.close()

    def read(self, block: Block) -> None:
        text = self._servers.addresses(block.text).replace("9464", str(self._port))
        getattr(self, f"_{block.language}")(text, str(block))

    def _sql(self, text: str, _: str) -> None:
        """Run statements as the database's administrator; SOURCE reads a file of ours."""
        text = re.sub(
            r"^SOURCE (\S+);$", lambda file: (ROOT / file[1]).read_text(), text, flags=re.MULTILINE
        )
        self._servers.ask_database(text)

    def _sh(self, text: str, where: str) -> None:
        """Run commands one after another; a worker stays until the page ends."""
        before: list[str] = []
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            if line.startswith("idalloc worker") and "--probe" not in line:
                self._bash("\n".join(before), where)
                self._start(shlex.split(line, comments=True))
                before = []
            else:
                before.append(line)
        self._bash("\n".join(before), where)

    def _console(self, text: str, where: str) -> None:
        """Run each command behind a `$`, and compare what it prints; `...` stands for anything."""
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            got = self._bash(command, where)
            checker = doctest.OutputChecker()
            same = checker.check_output(
                expected, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            )
            assert same, f"{where}: {command}\nexpected:\n{expected}\ngot:\n{got}"

    def _bash(self, text: str, where: str) -> str:
        """Run a script in the page's folder, and keep what it exports."""
        kept = self._folder / ".environment"
        script = f"set -e -o pipefail\n{text}\nenv -0 > {kept}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{where}: {text}\n{done.stdout}{done.stderr}"
        pairs = kept.read_text().split("\0")
        self._environment = dict(pair.split("=", 1) for pair in pairs if pair)
        return done.stdout

    def _start(self, command: list[str]) -> None:
        """Start a worker as the page does, and wait until all of its processes serve."""
        log = self._folder / f"worker-{len(self._workers)}.log"
        broker, database = (self._environment[f"IDALLOC_{name}_URL"] for name in ("AMQP", "MYSQL"))
        worker = Worker(broker, database, log, self._environment)
        worker.arguments = command[2:]
        self._workers.append(worker.start())
        self._ends.callback(worker.kill)
        options = dict(pairwise(command))
        worker.wait_for_logs("Serving", int(options.get("--processes", "1")))
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        """Wait for what a probe says, where a page has one: it knows within seconds."""
        path = self._environment.get(VARIABLE)
        deadline = time.monotonic() + PATIENCE
        while path and probe("ready", path):
            assert time.monotonic() < deadline, "the worker does not get ready"
            time.sleep(0.1)

    def _python(self, text: str, where: str) -> None:
        """Run a block with the names of those before; it may await."""
        code = compile(text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, self._names)
        if inspect.iscoroutine(running):
            self._loop.run(running)


@pytest.fixture
def reader(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Give somebody who has the servers, and nothing in them."""
    servers.empty()
    monkeypatch.setattr(prometheus_client, "REGISTRY", prometheus_client.CollectorRegistry())
    with Reader(servers, tmp_path) as one:
        yield one


def test_first_steps(reader: Reader) -> None:
    """Nothing is there but empty servers, and each command works as the README says."""
    for block in runnable(FIRST_STEPS):
        reader.read(block)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != FIRST_STEPS and runnable(page)], ids=name_of
)
def test_every_block_works(reader: Reader, page: Path) -> None:
    """After the README's first steps, each block of the page works."""
    for block in [*runnable(FIRST_STEPS), *runnable(page)]:
        reader.read(block)


def test_answers_are_those_of_the_table(fleet: Fleet, database: Database) -> None:
    """One worker process gives a new tag's first callers what the README says, byte for byte."""
    database.query("INSERT INTO segments (app_tag, step) VALUES ('order', 10000)")
    fleet.start()
    told = rows("README.md", "send to")
    assert len(told) == 4
    with ForeignClient(fleet.amqp_url) as caller:
        for queue, body, answer in told:
            reply = caller.call(plain(queue), plain(body).encode())
            assert reply is not None
            assert reply[0].decode() == plain(answer)
