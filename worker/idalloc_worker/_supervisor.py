"""Keeps N worker processes running: starts them, restarts those that crash, stops them together."""

import contextlib
import logging
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from enum import Enum, auto

from idalloc_client._backoff import Backoff
from idalloc_worker._metrics_server import MetricsServer
from idalloc_worker._metrics_sources import Children
from idalloc_worker._settings import Settings
from idalloc_worker._signals import Mailbox, on_stop_signals, stop_signals_blocked

_log = logging.getLogger("idalloc.supervisor")

_STEADY_AFTER = 10.0  # seconds: a process that lived this long did not fail at its start
_KILL_AFTER = 5.0  # seconds beyond the drain's own bound


class _Order(Enum):
    STOP = auto()
    FORCE = auto()


class _Slot:
    """The place of one process, through all its restarts."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.backoff = Backoff(0.1, 5.0)


@dataclass(frozen=True, slots=True)
class _Exited:
    slot: _Slot
    status: int


@dataclass(frozen=True, slots=True)
class _Restart:
    slot: _Slot


class Supervisor:
    """Owned by the main thread, which acts on one event after the other."""

    def __init__(self, settings: Settings, metrics: MetricsServer | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._slots = [_Slot(number) for number in range(1, settings.processes + 1)]
        self._children = Children([slot.number for slot in self._slots])
        self._events: Mailbox[_Order | _Exited | _Restart] = Mailbox()
        self._stopping = False
        self._worst_status = 0

    def run(self) -> int:
        """Supervise until a signal ends it; returns 0 if every process drained cleanly."""
        on_stop_signals(
            lambda: self._events.put(_Order.STOP), lambda: self._events.put(_Order.FORCE)
        )
        _log.info("Supervising %d worker processes", len(self._slots))
        for slot in self._slots:
            self._spawn(slot)
        if self._metrics is not None:
            self._metrics.serve(self._children)
        while not (self._stopping and not self._alive()):
            self._handle(self._events.get())
        return self._worst_status

    def _alive(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.process is not None]

    def _handle(self, event: _Order | _Exited | _Restart) -> None:
        match event:
            case _Exited(slot, status):
                self._on_exit(slot, status)
            case _Restart(slot) if not self._stopping:
                self._spawn(slot)
            case _Order.STOP:
                self._stop()
            case _Order.FORCE:
                self._kill()

    def _spawn(self, slot: _Slot) -> None:
        # -P: what lies in the working directory is not to be imported.
        command = [sys.executable, "-P", "-m", "idalloc_worker._child"]
        process = self._popen(slot, command)
        slot.process, slot.started_at = process, time.monotonic()
        try:
            assert process.stdin is not None  # noqa: S101  # it was asked for
            pickle.dump(self._settings, process.stdin)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; its exit status says more
        threading.Thread(
            target=lambda: self._events.put(_Exited(slot, process.wait())),
            name=f"idalloc-wait-{slot.number}",
            daemon=True,
        ).start()
        _log.info("Started worker process %d (pid %d)", slot.number, process.pid)

    def _popen(self, slot: _Slot, command: list[str]) -> subprocess.Popen[bytes]:
        with stop_signals_blocked():  # until the child knows what to do with them
            if self._metrics is None:
                return subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603  # our own
            with self._children.new_link(slot.number) as theirs:
                return subprocess.Popen(  # noqa: S603  # our own
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                )

    def _on_exit(self, slot: _Slot, status: int) -> None:
        pid = slot.process.pid if slot.process else 0
        self._close_input(slot)
        self._children.ended(slot.number)
        slot.process = None
        if self._stopping:
            self._worst_status = self._worst_status or int(status != 0)
            return
        if time.monotonic() - slot.started_at >= _STEADY_AFTER:
            slot.backoff.reset()
        delay = slot.backoff.next_delay()
        _log.error(
            "Worker process %d (pid %d) ended with status %d; restarting in %.1f s",
            slot.number,
            pid,
            status,
            delay,
        )
        timer = threading.Timer(delay, self._events.put, [_Restart(slot)])
        timer.daemon = True
        timer.start()

    def _stop(self) -> None:
        self._stopping = True
        _log.info("Stopping %d worker processes", len(self._alive()))
        for slot in self._alive():
            self._close_input(slot)
        timer = threading.Timer(
            self._settings.drain_timeout + _KILL_AFTER, self._events.put, [_Order.FORCE]
        )
        timer.daemon = True
        timer.start()

    def _kill(self) -> None:
        for slot in self._alive():
            if slot.process is not None:
                _log.error("Killing worker process %d (pid %d)", slot.number, slot.process.pid)
                slot.process.kill()

    @staticmethod
    def _close_input(slot: _Slot) -> None:
        if slot.process is not None and slot.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                slot.process.stdin.close()
