"""Real worker processes for tests, started with the command that operators use."""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType, TracebackType
from typing import ClassVar, Protocol, Self
from urllib.parse import urlsplit

import pika

from devstack import TcpProxy

PATIENCE = 120.0
"""Seconds for what is expected to happen: with any number of others on the machine it does."""

_LIBC = ctypes.CDLL(None)


class WorkerFailedError(Exception):
    """A worker did not do as told; its log says more."""


class Running(Protocol):
    """A process, as `subprocess.Popen` shows it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...


class Starter(Protocol):
    """Another way to start commands of `idalloc`."""

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> Running | None:
        """Start one; None if it cannot be started in this way."""


class Worker:
    """One `idalloc worker` command, or one like it, with its log in a file."""

    starter: ClassVar[Starter | None] = None
    """A cheaper way to start most commands; the tests set one."""

    def __init__(
        self,
        amqp_url: str,
        mysql_url: str,
        log: Path,
        environment: Mapping[str, str],
        **settings: object,
    ) -> None:
        self.log = log
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("IDALLOC_")},
            **environment,
            "IDALLOC_AMQP_URL": amqp_url,
            "IDALLOC_MYSQL_URL": mysql_url,
            **{f"IDALLOC_{key.upper()}": str(value) for key, value in settings.items()},
        }
        self._process: Running | None = None
        self.command = "worker"
        self.arguments: Sequence[str] = ()
        """More of them, for its command."""
        self.terminal: int | None = None
        """Descriptor of a terminal that it is started from."""

    def start(self) -> Self:
        """Start the command; it is not ready yet."""
        arguments = [self.command, *self.arguments]
        self.log.touch()
        self._process = self._start_warm(arguments) or self._popen(arguments)
        return self

    def _start_warm(self, arguments: Sequence[str]) -> Running | None:
        if self.starter is None or self.terminal is not None:
            return None
        return self.starter.start(arguments, self._environment, self.log)

    def _popen(self, arguments: Sequence[str]) -> Running:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "idalloc_worker", *arguments],
                env=self._environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=self.terminal is not None,
                preexec_fn=self._begin,  # noqa: PLW1509  # system calls, no lock
            )

    def _begin(self) -> None:
        end_with_parent()
        if self.terminal is not None:
            fcntl.ioctl(self.terminal, termios.TIOCSCTTY, 0)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Stop all its threads, and return once they have: one may lag behind the signal."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        while any(_state(task) != "T" for task in tasks.iterdir()):
            time.sleep(0.001)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def terminate(self, timeout: float = PATIENCE) -> int:
        """Ask for a clean stop and return the exit status."""
        if self.running:
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for the end and return the exit status."""
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise WorkerFailedError(f"still running after {timeout} s:\n{self.tail()}") from None

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        """Show the end of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    def count_in_log(self, text: str) -> int:
        return self.log.read_text(errors="replace").count(text)

    def wait_for_log(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until a log line contains `text`."""
        self.wait_for_logs(text, 1, timeout)

    def wait_for_logs(self, text: str, times: int, timeout: float = PATIENCE) -> None:
        """Wait until the log contains `text` so often."""
        deadline = time.monotonic() + timeout
        while self.count_in_log(text) < times:
            if time.monotonic() > deadline or not self.running:
                raise WorkerFailedError(f"no log line with {text!r}:\n{self.tail()}")
            time.sleep(0.02)


class Fleet:
    """Any number of workers on one virtual host and database; all end with it."""

    def __init__(
        self, amqp_url: str, mysql_url: str, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.amqp_url = amqp_url
        self.worker_url = amqp_url
        """How workers reach the broker; a test may send them another way."""
        self._environment = environment
        self.mysql_url = mysql_url
        self.workers: list[Worker] = []
        self._folder = TemporaryDirectory(prefix="idalloc-workers-")

    def start(self, count: int = 1, *, ready: bool = True, **settings: object) -> list[Worker]:
        """Start workers and wait until they consume."""
        started = [self.add(**settings).start() for _ in range(count)]
        if ready:
            self.wait_ready(int(str(settings.get("processes", 1))) * len(self.alive()))
        return started

    def add(self, **settings: object) -> Worker:
        """Prepare a worker, for the caller to start."""
        log = Path(self._folder.name) / f"worker-{len(self.workers)}.log"
        worker = Worker(self.worker_url, self.mysql_url, log, self._environment, **settings)
        self.workers.append(worker)
        return worker

    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.running]

    def wait_ready(self, consumers: int, timeout: float = PATIENCE) -> None:
        """Wait until so many consume `id.alloc` and `id.health`."""
        deadline = time.monotonic() + timeout
        with blocking_connection(self.amqp_url) as connection:
            while min(_all_consumers(connection)) < consumers:
                if time.monotonic() > deadline:
                    logs = "\n".join(worker.tail() for worker in self.workers)
                    raise WorkerFailedError(f"fewer than {consumers} consumers:\n{logs}")
                time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            worker.kill()
        if error is not None:  # pytest shows what was printed
            for worker in self.workers:
                print(f"--- {worker.log.name}\n{worker.tail()}")  # noqa: T201
        self._folder.cleanup()


def end_with_parent() -> None:
    """Have the kernel kill a child if this process dies (Linux: PR_SET_PDEATHSIG)."""
    _LIBC.prctl(1, signal.SIGKILL)


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def through(proxy: TcpProxy, amqp_url: str) -> str:
    """Rewrite a URL to go through a proxy."""
    parts = urlsplit(amqp_url)
    user_info = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user_info}@127.0.0.1:{proxy.port}").geturl()


def consumer_counts(amqp_url: str) -> tuple[int, int]:
    """Count the consumers of `id.alloc` and `id.health`; 0 for a queue that does not exist."""
    with blocking_connection(amqp_url) as connection:
        return _all_consumers(connection)


def queue_depth(amqp_url: str, queue: str) -> int:
    """Count the messages that wait in a queue."""
    with blocking_connection(amqp_url) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


@contextlib.contextmanager
def blocking_connection(amqp_url: str) -> Iterator[pika.BlockingConnection]:
    """Open a plain connection for looking at things."""
    parameters = pika.URLParameters(amqp_url)
    parameters.socket_timeout = PATIENCE
    parameters.stack_timeout = PATIENCE
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


def _all_consumers(connection: pika.BlockingConnection) -> tuple[int, int]:
    return _consumers(connection, "id.alloc"), _consumers(connection, "id.health")


def _consumers(connection: pika.BlockingConnection, queue: str) -> int:
    channel = connection.channel()
    try:
        count = int(channel.queue_declare(queue, passive=True).method.consumer_count)
    except pika.exceptions.ChannelClosedByBroker:
        return 0
    channel.close()
    return count
