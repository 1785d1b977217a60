"""Where the servers come from, and what happens when one of them does not start."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import DevStackError, ServerFailedError
from devstack.servers import _docker, _install, _ports, _stack
from devstack.servers._ports import free_port
from devstack.servers._stack import AMQP_URL, MANAGEMENT_URL, MYSQL_URL, Plan, make_plan

BROKER = {AMQP_URL: "amqp://a", MANAGEMENT_URL: "http://b"}
DATABASE = {MYSQL_URL: "mysql://c"}
ENGINE = "unix:engine"


class FakeServer:
    """A server that records what is done to it."""

    url = "fake://"
    management_url = "fake-management://"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = threading.Event()
        self.started = threading.Event()

    def start(self) -> None:
        self.started.set()
        if self.error:
            raise self.error

    def close(self) -> None:
        self.closed.set()


class SlowServer(FakeServer):
    """A server whose start ends only when it is closed."""

    def start(self) -> None:
        self.closed.wait(30)
        raise ServerFailedError("was closed")


@pytest.fixture
def no_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (AMQP_URL, MANAGEMENT_URL, MYSQL_URL):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def docker_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Be an engine at `ENGINE`."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("engine")
        listener.listen()
        yield listener


@pytest.mark.parametrize(
    ("environ", "docker", "plan"),
    [
        ({**BROKER, **DATABASE}, True, Plan("given", "given")),
        (BROKER, True, Plan("given", "docker")),
        (BROKER, False, Plan("given", "private")),
        (DATABASE, True, Plan("docker", "given")),
        (DATABASE, False, Plan("private", "given")),
        ({}, True, Plan("docker", "docker")),
        ({}, False, Plan("private", "private")),
        ({AMQP_URL: "", MANAGEMENT_URL: "", MYSQL_URL: ""}, False, Plan("private", "private")),
    ],
)
def test_given_servers_come_first_then_docker_then_private_ones(
    environ: dict[str, str],
    docker: bool,  # noqa: FBT001 - pytest's parameter
    plan: Plan,
) -> None:
    """Each of the two servers is chosen by itself."""
    assert make_plan(environ, lambda: docker) == plan


@pytest.mark.parametrize("name", list(BROKER))
def test_half_a_broker_is_an_error(name: str) -> None:
    """The URLs of one broker must not be completed by those of another."""
    with pytest.raises(DevStackError, match="set both or neither"):
        make_plan({name: BROKER[name]}, lambda: False)


def test_docker_is_not_asked_when_everything_is_given() -> None:
    """A test run against given servers does not wait for an engine."""

    def docker_answers() -> bool:
        raise AssertionError("asked")

    assert make_plan({**BROKER, **DATABASE}, docker_answers) == Plan("given", "given")


def test_an_engine_that_answers_its_ping_is_there(docker_socket: socket.socket) -> None:
    """The engine is known by its answer, not by its socket's file."""

    def answer() -> None:
        connection, _ = docker_socket.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

    thread = threading.Thread(target=answer, name="fake-docker")
    thread.start()
    assert _docker.answers(ENGINE)
    thread.join()


def test_an_engine_that_hangs_up_is_not_there(docker_socket: socket.socket) -> None:
    """A socket file without a working engine behind it counts as no engine."""

    def hang_up() -> None:
        connection, _ = docker_socket.accept()
        connection.close()

    thread = threading.Thread(target=hang_up, name="fake-docker")
    thread.start()
    assert not _docker.answers(ENGINE)
    thread.join()


@pytest.mark.parametrize(
    "url", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "ssh://somewhere", "npipe://x"]
)
def test_no_engine_is_not_an_error(url: str) -> None:
    """Whatever DOCKER_HOST says, the answer is yes or no."""
    assert not _docker.answers(url)


@pytest.mark.usefixtures("no_urls")
def test_docker_servers_are_used_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an engine nothing is installed, and both containers end with the stack."""
    broker, database = FakeServer(), FakeServer()
    monkeypatch.setattr(_docker, "engine_answers", lambda: True)
    monkeypatch.setattr(_docker, "DockerRabbitMq", lambda: broker)
    monkeypatch.setattr(_docker, "DockerMySql", lambda: database)
    monkeypatch.setattr(_install, "_install", lambda packages: pytest.fail(str(packages)))
    with _stack.running_stack() as stack:
        assert stack.amqp_url == stack.mysql_url == "fake://"
        assert stack.management_url == "fake-management://"
        assert stack.source == "RabbitMQ docker, MySQL docker"
        assert not broker.closed.is_set()
        assert not database.closed.is_set()
    assert broker.closed.is_set()
    assert database.closed.is_set()


@pytest.mark.usefixtures("no_urls")
def test_a_failed_start_closes_the_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason reaches the caller without a wait for the server that still starts."""
    broker, database = SlowServer(), FakeServer(ServerFailedError("no room; its log ends with: x"))
    monkeypatch.setattr(_docker, "engine_answers", lambda: True)
    monkeypatch.setattr(_docker, "DockerRabbitMq", lambda: broker)
    monkeypatch.setattr(_docker, "DockerMySql", lambda: database)
    with pytest.raises(ServerFailedError, match="no room"), _stack.running_stack():
        pytest.fail("a stack without a database is none")
    assert broker.closed.is_set()
    assert database.closed.is_set()


def test_given_urls_are_used_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started for servers that somebody else runs."""
    for name, value in {**BROKER, **DATABASE}.items():
        monkeypatch.setenv(name, value)
    with _stack.running_stack() as stack:
        assert stack.amqp_url == "amqp://a"
        assert stack.management_url == "http://b"
        assert stack.mysql_url == "mysql://c"
        assert stack.source == "RabbitMQ given, MySQL given"


def test_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    """A client that retries a stopped server's port must never connect to itself."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(port < lowest for port in ports)


def test_a_port_is_given_to_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the server that it is for does not run."""
    script = "from devstack.servers._ports import free_port; print(free_port()); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        monkeypatch.setattr(_ports, "_PORTS", [port])
        with pytest.raises(OSError, match="no free port"):
            free_port()
        other.communicate("\n")
    assert free_port() == port
