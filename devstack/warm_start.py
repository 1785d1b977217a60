"""Starts `idalloc` commands as forks of a process that has imported them already.

A start then costs some milliseconds of CPU instead of nearly a second. The command runs as
`python -m idalloc_worker` would run it: with its own environment, folder, log and exit status.
"""

import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

from devstack.workers import end_with_parent

_ROOT = Path(__file__).resolve().parents[1]
_OWN = ("IDALLOC_", "PYTEST_")
"""Variables that nothing reads while it is imported."""


_PYTHONS = {signal.SIGPIPE, signal.SIGXFSZ}
"""Signals that Python ignores in any process."""


class _Command(NamedTuple):
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    log: str
    ignored: frozenset[int]
    """Signals that who starts it ignores, as it would inherit that."""


class WarmStart:
    """Any thread may start commands. All of them end with this process, or at `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._environment = _of_imports(os.environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> "WarmProcess | None":
        """Start a command; None if its imports might differ in its environment."""
        if _of_imports(environment) != self._environment:
            return None
        command = _Command(
            arguments, dict(environment), str(Path.cwd()), str(log.absolute()), _ignored()
        )
        return WarmProcess(self.ask(command), self)

    def ask(self, question: _Command | int) -> Any:
        """Have a command started, for its process id, or a process looked at, for its status."""
        with self._lock:
            connection = self._connection or self._open()
            connection.send(question)
            return connection.recv()

    def _open(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "devstack.warm_start", str(theirs.fileno())],
                cwd=_ROOT,  # whatever the folder of the test that comes first is
                env=self._environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        return self._connection

    def close(self) -> None:
        if self._connection is not None and self._process is not None:
            self._connection.close()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class WarmProcess:
    """What `subprocess.Popen` is for other processes, as far as workers need it."""

    def __init__(self, pid: int, parent: WarmStart) -> None:
        self.pid = pid
        self._parent = parent
        self._lock = threading.Lock()
        self._status: int | None = None

    def poll(self) -> int | None:
        with self._lock:
            if self._status is None:
                self._status = self._parent.ask(self.pid)
            return self._status

    def wait(self, timeout: float | None = None) -> int:
        while (status := self.poll()) is None:
            end = os.pidfd_open(self.pid)
            try:
                if not select.select([end], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("idalloc", timeout or 0.0)
            finally:
                os.close(end)
        return status

    def kill(self) -> None:
        """End it, unless it was seen to have ended: its number may be another's by now."""
        with self._lock:
            if self._status is None:
                os.kill(self.pid, signal.SIGKILL)


def _of_imports(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if not key.startswith(_OWN)}


def _ignored() -> frozenset[int]:
    signals = signal.valid_signals() - _PYTHONS
    return frozenset(one for one in signals if signal.getsignal(one) is signal.SIG_IGN)


def _ignore_only(signals: frozenset[int]) -> None:
    for one in _ignored() - signals:
        signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL)
    for one in signals:
        signal.signal(one, signal.SIG_IGN)


def _next_command(connection: Connection) -> _Command | None:
    """Serve until the other side is gone; in each process that is started, return its command."""
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return None
        if isinstance(question, int):
            connection.send(_status(question))
        elif pid := os.fork():
            connection.send(pid)
        else:
            connection.close()
            return _Command(*question)


def _status(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(command: _Command) -> None:
    """Take on what a process of its own would have been given."""
    end_with_parent()
    _ignore_only(command.ignored)
    os.chdir(command.folder)
    os.environ.clear()
    os.environ.update(command.environment)
    log = os.open(command.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    sys.argv = ["idalloc", *command.arguments]
    runpy.run_module("idalloc_worker", run_name="__main__", alter_sys=True)


def import_commands() -> None:
    """Import each command with all that it needs: `idalloc` itself waits until it is asked for."""
    from idalloc_worker import cli  # noqa: PLC0415  # only here, not where starts are asked for

    for module in pkgutil.iter_modules(cli.__path__, f"{cli.__name__}."):
        importlib.import_module(module.name)


def main() -> None:
    """Import all commands, then start them."""
    import_commands()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for who started this
    command = _next_command(Connection(int(sys.argv[1])))
    if command is not None:
        _become(command)


if __name__ == "__main__":
    main()
