"""Runs servers as their guardian and takes them down when their owner is gone.

This file is run by its path, as a process of its own in a session of its own, so that neither a
Ctrl-C in the terminal nor the death of the process that asked for the servers reaches them before
it reaches the guardian. It needs nothing but the standard library.

Its owner writes one JSON object per line to its standard input and reads one JSON object per line
from its standard output. The end of the input, or of the owner itself, means: stop everything and
remove the folder.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Never

Request = dict[str, Any]
Reply = dict[str, Any]

END_GRACE = 2.0
"""Seconds between TERM and KILL when everything ends: the data is thrown away anyway."""

_KILL_ROUNDS = 200
_POLL = 0.05
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_guardian() -> None:
    """Run between fork and exec: should the guardian itself be killed, its child goes too."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _parents() -> Iterator[tuple[int, int]]:
    """Yield (pid, parent's pid) of every process that has not ended."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name stands in parentheses and may itself hold any character.
            state, parent = (
                (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            )
            if state != "Z":
                yield int(entry.name), int(parent)


def _descendants() -> set[int]:
    """Return the pids of every process below this one.

    The guardian is a subreaper: what a server has put in the background is found below it as well.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo.extend(below)
    return found


class Guard:
    """Owns the processes; used by the guardian's only thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._commands: dict[str, Callable[[Request], Reply]] = {
            "start": self._start,
            "poll": self._poll,
            "stop": self._stop,
            "signal": self._signal,
        }

    def answer(self, line: bytes) -> Reply:
        request = json.loads(line)
        try:
            reply = self._commands[request["do"]](request)
        except (OSError, KeyError, ValueError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        return {"id": request["id"], **reply}

    def _start(self, request: Request) -> Reply:
        with contextlib.ExitStack() as stack:
            # Without a log of its own, a process shares the terminal of the guardian's owner.
            log = (
                stack.enter_context(Path(request["log"]).open("ab"))
                if request["log"]
                else sys.stderr
            )
            process = subprocess.Popen(
                request["argv"],
                env=request["env"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_guardian,  # noqa: PLW1509 - the guardian has one thread
            )
        self._processes.append(process)
        return {"pid": process.pid}

    def _poll(self, _: Request) -> Reply:
        return {"code": self._processes[-1].poll() if self._processes else None}

    def _stop(self, request: Request) -> Reply:
        main = self._processes[-1] if self._processes else None
        running = main is not None and main.poll() is None
        forced = not self.end(request["grace"])
        code = None if main is None else main.returncode
        return {"code": code, "was_running": running, "forced": forced}

    def _signal(self, request: Request) -> Reply:
        number = signal.Signals[request["name"]]
        if number == signal.SIGKILL:
            self._kill_all()
            return {}
        reached: set[int] = set()
        while new := _descendants() - reached:  # a process may start another meanwhile
            for pid in new:
                _send(pid, number)
            reached |= new
        return {}

    def end(self, grace: float) -> bool:
        """End every process, the latest first; return whether all went within `grace` seconds."""
        gentle = True
        deadline = time.monotonic() + grace
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
                process.send_signal(signal.SIGCONT)  # a stopped process cannot act on TERM
                gentle = _wait(process, deadline) and gentle
        self._kill_all()
        return gentle

    def _kill_all(self) -> None:
        for _ in range(_KILL_ROUNDS):
            left = _descendants()
            if not left:
                break
            for pid in left:
                _send(pid, signal.SIGKILL)
            time.sleep(_POLL / 10)
        for process in self._processes:
            process.wait()
        self._processes.clear()
        _reap_adopted()

    def remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _reap_adopted() -> None:
    """Collect what the servers have put in the background and what has ended since."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait(process: "subprocess.Popen[bytes]", deadline: float) -> bool:
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _watch(owner: int) -> list[int]:
    """Return the file descriptors that become readable when there is work, or no owner any more.

    The pipe alone does not tell: a child that the owner has forked may hold its other end open.
    """
    descriptors = [sys.stdin.fileno()]
    with contextlib.suppress(OSError):
        descriptors.append(os.pidfd_open(owner))
    return descriptors


def _requests(owner: int) -> Iterator[bytes]:
    """Yield each line of the input until the input or the owner ends."""
    watched = _watch(owner)
    buffer = b""
    while os.getppid() == owner:
        readable, _, _ = select.select(watched, [], [])
        if watched[0] not in readable:
            return
        data = os.read(watched[0], 65536)
        if not data:
            return
        *lines, buffer = (buffer + data).split(b"\n")
        yield from lines


def _leave(number: int, _: object) -> Never:
    raise SystemExit(128 + number)


def main(folder: str, owner: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guard = Guard(Path(folder))
    try:
        for line in _requests(int(owner)):
            sys.stdout.write(json.dumps(guard.answer(line)) + "\n")
            sys.stdout.flush()
    except BrokenPipeError:
        pass  # the owner died while it waited for the answer
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        guard.end(END_GRACE)
        guard.remove_folder()
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
