"""Real application servers whose processes draw ids, from a client that was used at import."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from typing import Final

import pytest

from devstack import TcpProxy
from devstack.servers._ports import free_port
from devstack.workers import PATIENCE, Fleet, through
from tests.waiting import wait_until

pytestmark = pytest.mark.long

celery = pytest.importorskip(
    "celery", reason="run: .venv/bin/pip install -c constraints.txt -e '.[prefork]'"
)

ROOT: Final = Path(__file__).parents[2]
PROCESSES: Final = 3


class Served:
    """A server's processes, and what they drew."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self._log = folder / "drawn"
        self._output = folder / "output"
        self._environment = os.environ | {
            "SERVED_URL": fleet.amqp_url,
            "SERVED_LOG": str(self._log),
            "PYTHONPATH": f"{ROOT}:{folder}",
        }
        self.port = free_port()
        fleet.start()

    @contextmanager
    def running(self, *command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a server; at the end its processes are killed together, as some leave each other."""
        words = [word.replace("PORT", str(self.port)) for word in command]
        with self._output.open("ab") as output:
            server = subprocess.Popen(
                words,
                cwd=ROOT,
                env=self._environment | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield server
        finally:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()

    def ask(self) -> int | None:
        """Send a request; return the process that answered, or None."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            answer = response.read()
            assert response.status == 200, answer
            return int(answer)
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def answering(self, processes: int, apart_from: frozenset[int] = frozenset()) -> frozenset[int]:
        """Ask until so many processes have answered that are not the given ones."""
        seen: set[int | None] = set()
        deadline = time.monotonic() + PATIENCE
        with ThreadPoolExecutor(2 * processes) as askers:
            while len(seen - apart_from - {None}) < processes:
                assert time.monotonic() < deadline, (seen, self._output.read_text()[-4000:])
                seen.update(askers.map(lambda _: self.ask(), range(4 * processes)))
                time.sleep(0.05)  # those who start need the machine more than who asks again
        return frozenset(pid for pid in seen - apart_from if pid is not None)

    def drawn(self) -> list[tuple[int, list[int]]]:
        """Return which process drew which ids."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(pid, ids) for pid, ids in map(json.loads, lines)]

    def processes(self) -> int:
        return len({pid for pid, _ in self.drawn()})

    def check(self, processes: int) -> None:
        """See that so many processes drew, and that no id was drawn twice."""
        assert self.processes() >= processes
        ids = [value for _, values in self.drawn() for value in values]
        assert len(ids) == len(set(ids))


@pytest.fixture
def served(fleet: Fleet, tmp_path: Path) -> Served:
    return Served(fleet, tmp_path)


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


GUNICORN: Final = (program("gunicorn"), f"--workers={PROCESSES}", "--bind=127.0.0.1:PORT")
UWSGI: Final = (
    program("uwsgi"),
    *(f"--processes={PROCESSES}", "--http-socket=127.0.0.1:PORT"),
    *(f"--virtualenv={sys.prefix}", "--module=tests.served.wsgi"),
)


@pytest.mark.parametrize("preload", [True, False], ids=["preload", "no preload"])
@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent", "uvicorn_worker.UvicornWorker"])
def test_gunicorn(served: Served, kind: str, preload: bool) -> None:  # noqa: FBT001
    """Each kind of process serves, and so does one that takes the place of one that died."""
    application = "asgi" if "uvicorn" in kind else "wsgi"
    options = (f"--worker-class={kind}", f"tests.served.{application}:application")
    environment = {"SERVED_PRELOAD": "yes"} if preload else {}
    with served.running(*GUNICORN, *["--preload"] * preload, *options, **environment):
        first = served.answering(PROCESSES)
        os.kill(min(first), signal.SIGKILL)
        served.answering(1, apart_from=first)
    served.check(PROCESSES + 1)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--master"],
        ["--master", "--enable-threads", "--threads=2"],
        ["--master", "--lazy-apps"],
        ["--master", "--gevent=10", "--gevent-monkey-patch"],
    ],
    ids=["default", "master", "threads", "lazy", "gevent"],
)
def test_uwsgi(served: Served, options: list[str]) -> None:
    """It forks in C: no hook of Python's runs, whatever the client's thread does at that moment."""
    with served.running(*UWSGI, *options, SERVED_BUSY="yes"):
        first = served.answering(PROCESSES)
        if "--master" in options:  # else nobody replaces a process
            os.kill(min(first), signal.SIGKILL)
            served.answering(1, apart_from=first)
    served.check(PROCESSES)


def test_uvicorn(served: Served) -> None:
    """It starts each process anew."""
    options = (f"--workers={PROCESSES}", "--port=PORT", "tests.served.asgi:application")
    with served.running(program("uvicorn"), *options):
        served.answering(PROCESSES)
    served.check(PROCESSES)


def test_the_reloader_of_django(served: Served, tmp_path: Path) -> None:
    """Two processes import the application; a change of a file starts one of them anew."""
    module = tmp_path / "touched.py"
    module.touch()
    command = (sys.executable, "-m", "tests.served.site", "runserver", "127.0.0.1:PORT")
    with served.running(*command):
        first = served.answering(1)

        def another_answers() -> bool:
            module.touch()  # again and again: it may not have been looked at before
            return served.ask() not in {None, *first}

        wait_until(another_answers)
    served.check(3)


def test_celery(served: Served, fleet: Fleet, tmp_path: Path) -> None:
    """Its children are forked, also those that replace one that has done its tasks."""
    command = (program("celery"), "--app=tests.served.tasks", "worker", "--pool=prefork")
    options = (f"--concurrency={PROCESSES}", "--max-tasks-per-child=5", f"--logfile={tmp_path}/log")
    wanted = 1 + PROCESSES + 1  # the first one is that which forks
    with served.running(*command, *options), celery.Celery(broker=fleet.amqp_url) as caller:
        for _ in range(5 * PROCESSES + 1):
            caller.send_task("tests.served.tasks.work")
        wait_until(lambda: served.processes() >= wanted)
    served.check(wanted)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(served: Served, method: str) -> None:
    """A pool's processes draw, and so does the one that made it."""
    with served.running(sys.executable, "-m", "tests.served.pool", method) as server:
        assert server.wait(PATIENCE) == 0
    served.check(PROCESSES + 1)


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent, sys
from idalloc_client import IdClient

with IdClient(sys.argv[1], timeout=100) as client:
    ids = client.sequence("test_business")
    first = client.next_id("test_business")
    print("connected", flush=True)
    sys.stdin.readline()
    calls = [gevent.spawn(client.next_id, "test_business"), gevent.spawn(next, ids)]
    gevent.sleep(0.1)
    print("waiting" if not any(call.ready() for call in calls) else "answered", flush=True)
    print(len({first, *(call.get() for call in calls)}), flush=True)
"""


def test_greenlets(fleet: Fleet, proxy: TcpProxy) -> None:
    """In a process that gevent has patched, a call that waits leaves others their turn."""
    fleet.start()
    command = [sys.executable, "-c", GREENLETS, through(proxy, fleet.amqp_url)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as caller:
        assert caller.stdin is not None
        assert caller.stdout is not None
        assert caller.stdout.readline() == "connected\n"
        proxy.pause()
        caller.stdin.write("go on\n")
        caller.stdin.flush()
        assert caller.stdout.readline() == "waiting\n"
        proxy.resume()
        assert caller.stdout.readline() == "3\n"
        assert caller.wait(PATIENCE) == 0
