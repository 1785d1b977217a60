"""Keeps N worker processes running: starts them, restarts those that crash, stops them together."""

import contextlib
import logging
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Callable
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING

from idalloc_client.amqp import Backoff
from idalloc_worker._vitals import Vitals
from idalloc_worker.metrics import Children
from idalloc_worker.process._notifier import Notifier
from idalloc_worker.process._reload import Reload
from idalloc_worker.process._signals import (
    Mailbox,
    on_child_ended,
    on_stop_signals,
    stop_signals_blocked,
)
from idalloc_worker.process._starter import Starter
from idalloc_worker.settings import Settings

if TYPE_CHECKING:  # it loads Prometheus' client, which only a worker with a port needs
    from idalloc_worker.metrics import MetricsServer

_log = logging.getLogger("idalloc.supervisor")

_STEADY_AFTER = 10.0  # seconds: a process that lived this long did not fail at its start
_KILL_AFTER = 5.0  # seconds beyond the drain's own bound
_LOOK_EVERY = 0.5  # seconds: nothing depends on the signal that a child has ended

Popen = Callable[..., "subprocess.Popen[bytes]"]


class _Order(Enum):
    STOP = auto()
    FORCE = auto()
    RELOAD = auto()
    LOOK = auto()


class _Slot:
    """The place of one process, through all its restarts."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_at = 0.0
        """When to start one, while there is none (monotonic seconds)."""
        self.backoff = Backoff(0.1, 5.0)


class Supervisor:
    """Owned by the main thread, which looks after one thing after the other.

    It has no threads of its own: where none can be started, it is to go on all the same.
    """

    def __init__(
        self,
        settings: Settings,
        vitals: Vitals,
        metrics: "MetricsServer | None" = None,
        reload: Callable[[], Settings] | None = None,
        popen: Popen = subprocess.Popen,
    ) -> None:
        self._settings = settings
        self._vitals = vitals
        self._notifier = Notifier(vitals)
        self._reload = Reload(settings, reload or (lambda: settings))
        self._metrics = metrics
        self._popen = popen
        self._slots = [_Slot(number) for number in range(1, settings.processes + 1)]
        self._children = Children([slot.number for slot in self._slots])
        self._orders: Mailbox[_Order] = Mailbox()
        self._starter = Starter()
        self._stopping = False
        self._kill_at = inf
        self._worst_status = 0

    def run(self) -> int:
        """Supervise until a signal ends it; returns 0 if every process drained cleanly."""
        on_stop_signals(
            lambda: self._orders.put(_Order.STOP),
            lambda: self._orders.put(_Order.FORCE),
            lambda: self._orders.put(_Order.RELOAD),
        )
        on_child_ended(lambda: self._orders.put(_Order.LOOK))
        _log.info("Supervising %d worker processes", len(self._slots))
        self._look()
        if self._metrics is not None:
            metrics = self._metrics
            self._starter.start("metrics", lambda: metrics.serve(self._children))
        while not (self._stopping and not self._alive()):
            self._handle(self._orders.get(self._pause()))
            self._look()
        return self._worst_status

    def _alive(self) -> list[_Slot]:
        return [slot for slot in self._slots if slot.process is not None]

    def _pause(self) -> float:
        due = [slot.start_at for slot in self._slots if slot.process is None]
        return min(max(min([*due, inf]) - time.monotonic(), 0.0), _LOOK_EVERY)

    def _handle(self, order: _Order | None) -> None:
        if order is _Order.STOP and not self._stopping:
            self._stop()
        elif order is _Order.FORCE:
            self._kill()
        elif order is _Order.RELOAD and not self._stopping:
            self._read_again()

    def _read_again(self) -> None:
        self._reload()
        self._settings = self._reload.settings
        for slot in self._alive():
            if slot.process is not None and self._reads(slot.process):
                self._tell(slot.process)

    @staticmethod
    def _reads(process: "subprocess.Popen[bytes]") -> bool:
        """Tell whether there is room for settings: one that hangs must not hold the others up."""
        assert process.stdin is not None  # noqa: S101  # it was asked for
        return bool(select.select([], [process.stdin], [], 0)[1])

    def _look(self) -> None:
        """Do what is due."""
        self._vitals.beat(0)
        for slot in self._slots:
            status = slot.process.poll() if slot.process is not None else None
            if status is not None:
                self._on_exit(slot, status)
            if slot.process is None and not self._stopping and time.monotonic() >= slot.start_at:
                self._start(slot)
        self._starter.retry()
        if time.monotonic() >= self._kill_at:
            self._kill()
        self._notifier.tick()

    def _start(self, slot: _Slot) -> None:
        try:
            slot.process = self._spawn(slot.number)
        except (OSError, RuntimeError) as error:  # no descriptor, process or memory to be had
            delay = self._later(slot)
            _log.error(
                "Cannot start worker process %d: %s; trying again in %.1f s",
                slot.number,
                error,
                delay,
            )
            return
        slot.started_at = time.monotonic()
        _log.info("Started worker process %d (pid %d)", slot.number, slot.process.pid)

    def _spawn(self, number: int) -> "subprocess.Popen[bytes]":
        # -P: what lies in the working directory is not to be imported.
        module, page = "idalloc_worker.process._child", self._vitals.descriptor
        command = [sys.executable, "-P", "-m", module, str(number), str(page)]
        process = self._new_process(number, command)
        self._vitals.starts(number)
        self._tell(process)
        return process

    def _tell(self, process: "subprocess.Popen[bytes]") -> None:
        """Write the settings, which it reads at its start and whenever more come."""
        # One that died at once says more by its exit status.
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None  # noqa: S101  # it was asked for
            pickle.dump(self._settings, process.stdin)
            process.stdin.flush()

    def _new_process(self, number: int, command: list[str]) -> "subprocess.Popen[bytes]":
        page = self._vitals.descriptor
        with stop_signals_blocked():  # until the child knows what to do with them
            if self._metrics is None:
                return self._popen(command, stdin=subprocess.PIPE, pass_fds=[page])
            with self._children.new_link(number) as theirs:
                try:
                    return self._popen(
                        [*command, str(theirs.fileno())],
                        stdin=subprocess.PIPE,
                        pass_fds=[page, theirs.fileno()],
                    )
                except BaseException:
                    self._children.not_started(number)
                    raise

    def _on_exit(self, slot: _Slot, status: int) -> None:
        pid = slot.process.pid if slot.process else 0
        self._close_input(slot)
        self._children.ended(slot.number)
        self._vitals.ended(slot.number, for_good=self._stopping)
        slot.process = None
        if self._stopping:
            self._worst_status = self._worst_status or int(status != 0)
            return
        if time.monotonic() - slot.started_at >= _STEADY_AFTER:
            slot.backoff.reset()
        delay = self._later(slot)
        _log.error(
            "Worker process %d (pid %d) ended with status %d; restarting in %.1f s",
            slot.number,
            pid,
            status,
            delay,
        )

    @staticmethod
    def _later(slot: _Slot) -> float:
        delay = slot.backoff.next_delay()
        slot.start_at = time.monotonic() + delay
        return delay

    def _stop(self) -> None:
        self._stopping = True
        self._vitals.drains(0)
        self._notifier.stopping()
        self._kill_at = time.monotonic() + self._settings.drain_timeout + _KILL_AFTER
        _log.info("Stopping %d worker processes", len(self._alive()))
        for slot in self._alive():
            self._close_input(slot)

    def _kill(self) -> None:
        self._kill_at = inf
        for slot in self._alive():
            if slot.process is not None:
                _log.error("Killing worker process %d (pid %d)", slot.number, slot.process.pid)
                slot.process.kill()

    @staticmethod
    def _close_input(slot: _Slot) -> None:
        if slot.process is not None and slot.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                slot.process.stdin.close()
