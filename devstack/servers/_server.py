"""The life of a private server: start, stop, kill, pause, restart with the same port and data."""

import abc
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from devstack.servers._errors import DevStackError, ServerFailedError
from devstack.servers._guarded import STOP_GRACE, Guarded
from devstack.servers._opened import Opened

READY_SECONDS = 180.0
_PROBE_SECONDS = 0.05
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class PrivateServer(Opened):
    """A server of our own on 127.0.0.1, with its data in a temporary folder.

    Nothing is started by the constructor. `start()` may be called again after `stop()` or `kill()`:
    ports and data stay. After `close()` nothing of it is left. `close()` may come from another
    thread, also while `start()` runs, which then fails.
    """

    kind: ClassVar[str]
    """The server's name in messages."""

    probe_errors: ClassVar[tuple[type[Exception], ...]]
    """What `_probe` raises as long as the server is not ready."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._lock = threading.Lock()  # guards the change of _guarded
        self._guarded: Guarded | None = None

    def open(self) -> None:
        """Start it, as `start` does."""
        self.start()

    def start(self) -> None:
        """Start the server and return when it speaks its protocol.

        Raises ServerFailedError, with the tail of the server's log, if it ends or is not ready
        within 180 seconds.
        """
        try:
            guarded = self._guardian()
            self._launch(guarded)
            self._wait_until_ready(guarded)
        except DevStackError:
            self._fail_if_closing()  # then that is the reason, whatever else has failed by it
            raise

    def stop(self) -> None:
        """Stop the server gracefully, by force after 30 seconds; the data stays."""
        self._running().stop(STOP_GRACE)

    def kill(self) -> None:
        """Kill the server (SIGKILL); the data stays."""
        self._running().signal_all("SIGKILL")

    def pause(self) -> None:
        """Stop every process of the server in its tracks (SIGSTOP); connections stay open."""
        self._running().signal_all("SIGSTOP")

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._running().signal_all("SIGCONT")

    def close(self) -> None:
        """End the server and remove its folder. May be called again."""
        self._closing.set()
        with self._lock:
            if self._guarded is not None:
                self._guarded.close()

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of what the server has logged since its first start."""
        return tail(self.folder / "server.log", lines)

    @property
    def folder(self) -> Path:
        """The folder that holds all the server's files; exists until `close()`."""
        return self._running().folder

    @abc.abstractmethod
    def _prepare(self, guarded: Guarded) -> None:
        """Write what the server needs into its folder, once."""

    @abc.abstractmethod
    def _launch(self, guarded: Guarded) -> None:
        """Start the server's processes, the server itself last."""

    @abc.abstractmethod
    def _probe(self) -> None:
        """Speak the server's protocol once; raise one of `probe_errors` if that fails."""

    def _running(self) -> Guarded:
        if self._guarded is None:
            raise ServerFailedError(f"{self.kind} has not been started")
        return self._guarded

    def _guardian(self) -> Guarded:
        with self._lock:
            self._fail_if_closing()
            new = self._guarded is None
            if self._guarded is None:
                self._guarded = Guarded(self.kind.lower())
        if new:
            self._prepare(self._guarded)
        return self._guarded

    def _run(self, guarded: Guarded, argv: Sequence[str | Path], env: dict[str, str]) -> None:
        """Run a program of the server's preparation to its end."""
        guarded.start(argv, env, log=guarded.folder / "server.log")
        deadline = time.monotonic() + READY_SECONDS
        while (code := guarded.poll()) is None:
            if time.monotonic() > deadline:
                raise self._failure(f"{argv[0]} did not end within {READY_SECONDS:.0f} s")
            self._pause_between_probes()
        if code != 0:
            raise self._failure(f"{argv[0]} ended with code {code}")

    def _wait_until_ready(self, guarded: Guarded) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if (code := guarded.poll()) is not None:
                raise self._failure(f"{self.kind} ended at its start with code {code}")
            try:
                self._probe()
            except self.probe_errors as error:
                if time.monotonic() > deadline:
                    raise self._failure(
                        f"{self.kind} was not ready within {READY_SECONDS:.0f} s ({error!r})"
                    ) from error
            else:
                return
            self._pause_between_probes()

    def _pause_between_probes(self) -> None:
        self._closing.wait(_PROBE_SECONDS)
        self._fail_if_closing()

    def _fail_if_closing(self) -> None:
        if self._closing.is_set():
            raise ServerFailedError(f"{self.kind} was closed") from None

    def _failure(self, reason: str) -> ServerFailedError:
        return ServerFailedError(f"{reason}; its log ends with:\n{self.log_tail()}")


def tail(log: Path, lines: int = 40) -> str:
    """Return the last lines of a log that may not exist."""
    try:
        text = log.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(_COLOUR.sub("", text).splitlines()[-lines:])
