"""Starts and controls processes through a guardian that outlives nobody."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from devstack.servers import _guard
from devstack.servers._errors import DevStackError

STOP_GRACE = 30.0
"""Seconds that a process has to end after SIGTERM before it is killed."""


class Guarded:
    """One guardian, its processes and its temporary folder.

    Any thread may call any method; the conversation with the guardian is held under a lock. The
    guardian ends everything and removes the folder at `close()`, and also when this process dies.
    """

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"idalloc-{name}-"))
        self._lock = threading.Lock()
        self._count = 0
        # -I: neither the environment nor the current folder may change what the guardian imports.
        self._process = subprocess.Popen(
            [sys.executable, "-I", _guard.__file__, str(self.folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(
        self, argv: Sequence[str | Path], env: Mapping[str, str], log: Path | None = None
    ) -> int:
        """Start a process in the folder and return its pid; without `log` it shares our stderr."""
        reply = self._ask(
            "start", argv=[str(part) for part in argv], env=dict(env), log=str(log) if log else None
        )
        return int(reply["pid"])

    def poll(self) -> int | None:
        """Return the exit code of the process started last, or None while it runs."""
        code: int | None = self._ask("poll")["code"]
        return code

    def stop(self, grace: float = STOP_GRACE) -> int | None:
        """End every process: SIGTERM, `grace` seconds, SIGKILL; return the last one's exit code."""
        code: int | None = self._ask("stop", grace=grace)["code"]
        return code

    def signal_all(self, name: str) -> None:
        """Send the signal of that name, such as SIGSTOP, to every process and all below them."""
        self._ask("signal", name=name)

    def close(self) -> None:
        """End every process at once and remove the folder. May be called again."""
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            try:
                self._process.wait(_guard.END_GRACE + STOP_GRACE)
            finally:
                self._process.kill()  # for a guardian that hangs: its processes die with it
                self._process.wait()
                self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, command: str, **fields: Any) -> dict[str, Any]:
        with self._lock:
            reply = self._exchange({"do": command, **fields})
        if "error" in reply:
            raise DevStackError(f"cannot {command} {fields.get('argv', '')}: {reply['error']}")
        return reply

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdin.closed:
            raise DevStackError("the guardian of these processes is closed")
        self._count += 1
        try:
            self._process.stdin.write(json.dumps({"id": self._count, **request}).encode() + b"\n")
            self._process.stdin.flush()
            # A Ctrl-C may have left the answer to an earlier request behind.
            for line in self._process.stdout:
                reply: dict[str, Any] = json.loads(line)
                if reply["id"] == self._count:
                    return reply
        except BrokenPipeError:
            pass
        raise DevStackError("the guardian of these processes died")
