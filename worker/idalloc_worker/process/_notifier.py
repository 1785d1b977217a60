"""Tells systemd how a worker is (sd_notify(3), Type=notify); says nothing where nobody listens."""

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final, Self

from idalloc_worker._vitals import Vitals

_log = logging.getLogger("idalloc.worker")

_MICROSECONDS: Final = 1e6


class Notifier:
    """Owned by whoever calls `tick` often: an I/O thread, or a supervisor's main thread.

    READY comes when each process runs, whether or not the broker answers: systemd would otherwise
    start the worker again and again while that is down. WATCHDOG comes while each process is live.
    """

    def __init__(self, vitals: Vitals, environ: Mapping[str, str] = os.environ) -> None:
        self._vitals = vitals
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an address that is no file.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_every = _interval(environ)
        self._watchdog_at = 0.0
        self._ready = False
        self._status = ""

    @classmethod
    def silent(cls, vitals: Vitals) -> Self:
        """Tell nobody: that is a supervisor's task."""
        return cls(vitals, {})

    def tick(self) -> None:
        """Say what is new, and that all is well; never waits."""
        if not self._address:
            return
        lines = []
        if not self._ready and self._vitals.beats():
            self._ready = True
            lines.append("READY=1")
        status = "; ".join(self._vitals.problems("ready")) or "Serving"
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if self._watchdog_due():
            lines.append("WATCHDOG=1")
        self._send(lines)

    def stopping(self) -> None:
        """Say that the end has begun."""
        if self._address:
            self._send(["STOPPING=1", "STATUS=Draining"])

    def _watchdog_due(self) -> bool:
        now = time.monotonic()
        if not self._watchdog_every or now < self._watchdog_at or self._vitals.problems("live"):
            return False
        self._watchdog_at = now + self._watchdog_every
        return True

    def _send(self, lines: list[str]) -> None:
        if not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.debug("Cannot tell systemd: %s", error)


def _interval(environ: Mapping[str, str]) -> float:
    """Read how often to say that all is well: twice in the time that systemd waits for it."""
    for_another = environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid())
    microseconds = environ.get("WATCHDOG_USEC", "")
    if for_another or not microseconds.isdecimal():
        return 0.0
    return int(microseconds) / _MICROSECONDS / 2
