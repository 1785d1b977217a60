"""Gives a benchmark its servers: a virtual host, a database, a worker, peers and a Redis."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.parse import urlsplit

import pymysql

from benchmarks.harness.machine import family, listeners
from benchmarks.harness.runner import BenchmarkError
from devstack import Database, Stack, running_stack, scratch_database, scratch_vhost
from devstack.ordered import add_ordered_tag
from devstack.workers import Fleet, end_with_parent

TAG = "test_business"
"""The tag that schema.sql creates; its step is as shipped, so refills are part of the measure."""

STEP = 10_000
"""Of tags that a benchmark adds: what README.md shows."""

ORDERED_TAG = "ordered"
"""Like it, but ordered."""

Peer = Literal["aio-pika", "aio-pika worker", "echo", "faststream", "tutorial"]

_START_TIMEOUT = 20.0  # seconds
_AMQP_URL = "IDALLOC_BENCHMARK_AMQP_URL"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Site:
    """Where the worker answers, and the processes that take part."""

    amqp_url: str
    processes: Mapping[str, list[int]]
    database: Database
    management_url: str

    def add_tags(
        self, prefix: str, number: int, step: int = STEP, *, fixed: bool = False
    ) -> list[str]:
        """Add tags, `prefix` and a number each; a step that is not `fixed` follows the use."""
        names = [f"{prefix}{index}" for index in range(number)]
        row = f"('%s', {step}, {0 if fixed else 'NULL'})"
        rows = ", ".join(row % name for name in names)
        self.database.query(f"INSERT INTO segments (app_tag, step, target_cover) VALUES {rows}")
        return names

    def with_processes(self, **more: int) -> dict[str, list[int]]:
        """List the processes together with some others."""
        return {**self.processes, **{name: [pid] for name, pid in more.items()}}


@contextmanager
def benchmark_stack() -> Iterator[Stack]:
    """Have servers run whose commits are as durable as the product's are by default.

    Also given ones, which are set back in the end; only their binary log is as it was.
    """
    with running_stack(durable=True) as stack, ExitStack() as closing:
        database = Database(stack.mysql_url, "")
        for name in ("innodb_flush_log_at_trx_commit", "sync_binlog"):
            [(before,)] = database.query(f"SELECT @@GLOBAL.{name}")
            with suppress(pymysql.Error):  # its user may not: the results say what it was
                database.query(f"SET GLOBAL {name} = DEFAULT")
                closing.callback(database.query, f"SET GLOBAL {name} = {int(before)}")
        yield stack


@contextmanager
def fleet_site(servers: Stack | None = None) -> Iterator[tuple[Fleet, Database, Stack]]:
    """Have a virtual host and a database for workers that are still to be started.

    `servers` are those that run already, if there are any.
    """
    name = f"idalloc-benchmark-{secrets.token_hex(6)}"
    with (
        benchmark_stack() if servers is None else nullcontext(servers) as stack,
        scratch_vhost(stack.amqp_url, stack.management_url, name) as vhost,
        scratch_database(stack.mysql_url) as database,
        Fleet(vhost, database.url) as fleet,
    ):
        yield fleet, database, stack


@contextmanager
def one_worker(
    prepare: Callable[[str], None] = lambda _amqp_url: None,
    servers: Stack | None = None,
    **settings: object,
) -> Iterator[Site]:
    """Have one worker run, on a virtual host and a database of its own.

    It is one process with the settings of its command, unless these say otherwise. `prepare` is
    given the virtual host before that. For `servers` see `fleet_site`.
    """
    with fleet_site(servers) as (fleet, database, stack):
        prepare(fleet.amqp_url)
        add_ordered_tag(database, ORDERED_TAG, step=100_000)
        [worker] = fleet.start(1, ready=True, **settings)
        worker.wait_for_log("Ready for ordered tags")
        processes = {
            "client": [os.getpid()],
            "worker": family(worker.pid),
            "broker": listeners(urlsplit(stack.amqp_url).port or 5672),
            "mysql": listeners(urlsplit(stack.mysql_url).port or 3306),
        }
        yield Site(fleet.amqp_url, processes, database, stack.management_url)


@contextmanager
def peer(kind: Peer, amqp_url: str) -> Iterator[int]:
    """Have the server that a peer calls run, as a process of its own; yield its process id."""
    module = {
        "aio-pika": "benchmarks.peers.aio_pika_peer",
        "aio-pika worker": "benchmarks.peers.aio_pika_worker",
        "echo": "benchmarks.peers.echo_peer",
        "faststream": "benchmarks.peers.faststream_peer",
        "tutorial": "benchmarks.peers.tutorial_peer",
    }[kind]
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        env={**os.environ, _AMQP_URL: amqp_url},  # not an argument: those are for all to see
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise BenchmarkError(f"the {kind} peer did not start; its reason stands above")
        yield process.pid
    finally:
        _end(process)


def peer_amqp_url() -> str:
    """Tell a peer where the broker is."""
    return os.environ[_AMQP_URL]


@contextmanager
def redis_server() -> Iterator[tuple[int, int]]:
    """Have a Redis run that keeps what it does by default; yield its port and its process id."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchmarkError("redis-server is missing; install it: apt-get install redis-server")
    port = _free_port()
    with TemporaryDirectory(prefix="idalloc-redis-") as folder:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
        )
        try:
            _wait_for_port(port, process)
            yield port, process.pid
        finally:
            _end(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError("redis-server did not start") from None
            time.sleep(0.02)
        else:
            return


def _end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
