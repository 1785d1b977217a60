"""Probes of real workers, over HTTP and by the command that containers run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from devstack import Database, TcpProxy
from devstack.servers._ports import free_port
from devstack.workers import PATIENCE, Fleet, Worker, through
from idalloc_worker._vitals import BEAT, LIVE_WITHIN

UNREACHABLE = "mysql://me:secret@127.0.0.1:1/ids"
SOON = 15.0  # seconds: within which a process that hangs is to be seen


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


def get(port: int, path: str, accept: str = "text/plain") -> Answer:
    """Ask as a probe does."""
    try:
        request = Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
        with urlopen(request, timeout=PATIENCE) as answer:
            return Answer(answer.status, answer.read().decode())
    except HTTPError as error:
        return Answer(error.code, error.read().decode())


def wait_for(port: int, path: str, condition: Callable[[Answer], bool]) -> float:
    """Ask until the answer is as wanted; returns the seconds that took."""
    began = time.monotonic()
    while not condition(last := get(port, path)):
        assert time.monotonic() - began < PATIENCE, last
        time.sleep(0.05)
    return time.monotonic() - began


def says(status: int, text: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == status and text in answer.text


def children(worker: Worker) -> list[int]:
    found = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    return [int(child) for child in found]


def probe(which: str, file: Path) -> "subprocess.CompletedProcess[str]":
    """Run what a container's health check runs."""
    return subprocess.run(
        [Path(sys.executable).with_name("idalloc"), "worker", "--probe", which],
        env={**os.environ, "IDALLOC_PROBE_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broker_that_goes_and_comes(
    vhost: str, database: Database, proxy: TcpProxy, port: int, tmp_path: Path, *, processes: int
) -> None:
    """The worker is live all the time, and ready while it has a broker; both ways of asking."""
    file = tmp_path / "vitals"
    proxy.refuse()
    with Fleet(through(proxy, vhost), database.url) as fleet:
        (worker,) = fleet.start(
            ready=False, metrics_port=port, processes=processes, probe_file=file
        )
        worker.wait_for_log("Metrics are at")
        wait_for(port, "/readyz", says(503, "process 1: no connection to the broker\n"))
        wait_for(port, "/livez", says(200, "live\n"))
        assert probe("live", file).returncode == 0
        assert probe("ready", file).returncode == 1
        told = json.loads(get(port, "/readyz", "application/json").text)
        assert told["ready"] is False
        assert len(told["problems"]) == processes
        proxy.refuse(False)  # noqa: FBT003  # as it is named
        wait_for(port, "/readyz", says(200, "ready\n"))
        assert json.loads(get(port, "/readyz", "application/json").text) == {
            "ready": True,
            "problems": [],
        }
        assert get(port, "/livez").status == 200
        ready = probe("ready", file)
        assert (ready.returncode, ready.stdout) == (0, "ready\n")
        for path in ("/", "/healthz", "/metrics/", "/livezz"):
            assert get(port, path).status == 404
        proxy.refuse()
        proxy.drop()
        wait_for(port, "/readyz", says(503, "no connection to the broker"))
        assert get(port, "/livez").status == 200
        assert worker.terminate() == 0
    assert not file.exists()
    assert probe("live", file).returncode == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_that_drains_is_live_and_not_ready(
    vhost: str, database: Database, proxy: TcpProxy, port: int, processes: int
) -> None:
    """A drain that takes long is no reason to kill it."""
    with Fleet(through(proxy, vhost), database.url) as fleet:
        (worker,) = fleet.start(metrics_port=port, processes=processes, drain_timeout=600)
        wait_for(port, "/readyz", says(200, "ready"))
        proxy.pause()  # so that the drain has to wait for the broker
        worker.signal(signal.SIGTERM)
        wait_for(port, "/readyz", says(503, "draining"))
        assert get(port, "/livez") == Answer(200, "live\n")
        proxy.resume()
        assert worker.wait() == 0


def test_a_database_that_was_never_there(vhost: str, port: int, tmp_path: Path) -> None:
    """Probes and health say so, before anybody has asked for an id."""
    with Fleet(vhost, UNREACHABLE) as fleet:
        fleet.start(metrics_port=port, probe_file=tmp_path / "vitals")
        problem = "the database could not be used when it was last needed"
        wait_for(port, "/readyz", says(503, problem))
        assert problem in probe("ready", tmp_path / "vitals").stderr
        assert get(port, "/livez").status == 200
        environment = {**os.environ, "IDALLOC_AMQP_URL": vhost}
        for arguments in (("order",), (), ("--fleet",)):
            done = subprocess.run(
                [Path(sys.executable).with_name("idalloc"), "health", *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert done.returncode == 1, done
            assert "the database could not be used when it was last needed" in done.stdout
            assert "cold" not in done.stdout


@pytest.mark.long
def test_a_process_that_hangs_is_not_live(fleet: Fleet, port: int, tmp_path: Path) -> None:
    """The others answer for it, over HTTP and to the command, and within 15 s (times two here)."""
    file = tmp_path / "vitals"
    (worker,) = fleet.start(metrics_port=port, processes=2, probe_file=file)
    wait_for(port, "/readyz", says(200, "ready"))
    hung = children(worker)[1]
    os.kill(hung, signal.SIGSTOP)
    try:
        assert wait_for(port, "/livez", says(503, "process 2: has not run for")) < 2 * SOON
        assert get(port, "/readyz") == Answer(503, "process 2: does not run\n")
        assert probe("live", file).returncode == 1
    finally:
        os.kill(hung, signal.SIGCONT)
    wait_for(port, "/livez", says(200, "live"))
    os.kill(hung, signal.SIGKILL)
    wait_for(port, "/readyz", says(503, "process 2"))
    wait_for(port, "/readyz", says(200, "ready"))
    assert LIVE_WITHIN + BEAT < SOON
    assert worker.terminate() == 0


@pytest.mark.long
def test_a_supervisor_that_hangs_is_not_live(fleet: Fleet, port: int, tmp_path: Path) -> None:
    """Its processes serve on, and nobody would start them again."""
    file = tmp_path / "vitals"
    (worker,) = fleet.start(processes=2, probe_file=file)
    assert probe("live", file).returncode == 0
    worker.pause()
    deadline = time.monotonic() + PATIENCE
    while probe("live", file).returncode == 0:
        assert time.monotonic() < deadline
    assert "the supervisor: has not run for" in probe("live", file).stderr
    worker.resume()
    assert worker.terminate() == 0


def test_a_file_for_probes_that_cannot_be(fleet: Fleet, tmp_path: Path) -> None:
    """The command ends at once and names the setting."""
    (worker,) = fleet.start(ready=False, probe_file=tmp_path / "nowhere" / "vitals")
    assert worker.wait() == 1
    assert "IDALLOC_PROBE_FILE: cannot write" in worker.tail()


# systemd


class Systemd:
    """The end of NOTIFY_SOCKET that systemd has."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE)
        self.heard: list[str] = []

    def wait_for(self, line: str) -> None:
        """Listen until a line was said."""
        while line not in self.heard:
            self.heard += self.socket.recv(4096).decode().splitlines()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    it = Systemd(tmp_path / "notify")
    yield it
    it.socket.close()


@pytest.mark.parametrize("processes", [1, 2])
def test_systemd_is_told(
    vhost: str,
    database: Database,
    proxy: TcpProxy,
    systemd: Systemd,
    tmp_path: Path,
    *,
    processes: int,
) -> None:
    """READY without a broker, so that its outage is no crash loop; the state, and signs of life."""
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    proxy.refuse()
    with Fleet(through(proxy, vhost), database.url, told) as fleet:
        (worker,) = fleet.start(ready=False, processes=processes)
        systemd.wait_for("READY=1")
        assert not any("Serving" in line for line in systemd.heard)
        proxy.refuse(False)  # noqa: FBT003  # as it is named
        systemd.wait_for("STATUS=Serving")
        systemd.heard.clear()
        systemd.wait_for("WATCHDOG=1")
        worker.signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        assert worker.wait() == 0
