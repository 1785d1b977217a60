"""Runs RabbitMQ and MySQL in Docker containers, where an engine answers."""

import abc
import socket
import time
import urllib.error
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pika
import pika.exceptions
import pymysql

from devstack.servers._database import connect
from devstack.servers._errors import ServerFailedError
from devstack.servers._management import Management
from devstack.servers._rabbitmq import PLUGINS

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

RABBITMQ_IMAGE = "rabbitmq:4-management"
MYSQL_IMAGE = "mysql:8.4"
READY_SECONDS = 60.0
_PROBE_SECONDS = 0.2
_USER = "idalloc"
_NOT_READY = (OSError, urllib.error.URLError, pika.exceptions.AMQPError, pymysql.Error)
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_PING = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n"


def engine_answers() -> bool:
    """Tell whether there are a Docker engine that answers and the library to use it."""
    try:
        from testcontainers.core.docker_client import get_docker_host  # noqa: PLC0415 - slow
    except ImportError:
        return False
    return answers(get_docker_host() or _DEFAULT_ENGINE)


def answers(url: str) -> bool:
    """Tell whether a Docker engine answers there, without leaving anything open behind.

    The Docker client itself leaves its socket open where there is no engine.
    """
    try:
        with _connect(url) as engine:
            engine.sendall(_PING)
            return b" 200 " in engine.makefile("rb").readline()
    except (OSError, ValueError):
        return False


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        engine = socket.socket(socket.AF_UNIX)
        engine.settimeout(5)
        try:
            engine.connect(parts.path)
        except OSError:
            engine.close()
            raise
        return engine
    if parts.scheme in {"tcp", "http"} and parts.hostname:
        return socket.create_connection((parts.hostname, parts.port or 2375), timeout=5)
    raise ValueError(f"cannot ask a Docker engine at {parts.scheme}://")


def _container(image: str) -> "DockerContainer":
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only here

    return DockerContainer(image)


class DockerServer(abc.ABC):
    """One container, from `start()` to `close()`.

    Should this process die before that, testcontainers' own reaper removes the container.
    """

    def __init__(self, container: "DockerContainer") -> None:
        self._container = container
        self._closed = False

    def start(self) -> None:
        """Pull the image if needed, run it, and return when the server speaks its protocol."""
        self._container.start()
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._probe()
            except _NOT_READY as error:
                if time.monotonic() > deadline:
                    raise self._failure(error) from error
                time.sleep(_PROBE_SECONDS)
            else:
                return

    def close(self) -> None:
        """Remove the container with its data. May be called again."""
        if not self._closed:
            self._closed = True
            self._container.stop()

    @abc.abstractmethod
    def _probe(self) -> None:
        """Speak the server's protocol once."""

    def _address(self, port: int) -> str:
        return f"{self._container.get_container_host_ip()}:{self._container.get_exposed_port(port)}"

    def _failure(self, error: Exception) -> ServerFailedError:
        logs = b"".join(self._container.get_logs()).decode("utf-8", "replace")
        return ServerFailedError(
            f"{self._container.image} was not ready within {READY_SECONDS:.0f} s ({error!r}); "
            "its log ends with:\n" + "\n".join(logs.splitlines()[-40:])
        )


class DockerRabbitMq(DockerServer):
    """A RabbitMQ container with the management plugin; user and password idalloc."""

    def __init__(self) -> None:
        # Not guest: that user may log in from the broker's own host only.
        super().__init__(
            _container(RABBITMQ_IMAGE)
            .with_exposed_ports(5672, 15672)
            .with_envs(RABBITMQ_DEFAULT_USER=_USER, RABBITMQ_DEFAULT_PASS=_USER)
            .with_copy_into_container(
                f"[{','.join(PLUGINS)}].\n".encode(), "/etc/rabbitmq/enabled_plugins"
            )
        )

    @property
    def url(self) -> str:
        return f"amqp://{_USER}:{_USER}@{self._address(5672)}/%2F"

    @property
    def management_url(self) -> str:
        return f"http://{_USER}:{_USER}@{self._address(15672)}"

    def _probe(self) -> None:
        Management(self.management_url).get("/api/overview")
        pika.BlockingConnection(pika.URLParameters(self.url)).close()


class DockerMySql(DockerServer):
    """A MySQL container; user root, password idalloc."""

    def __init__(self) -> None:
        super().__init__(
            _container(MYSQL_IMAGE).with_exposed_ports(3306).with_envs(MYSQL_ROOT_PASSWORD=_USER)
        )

    @property
    def url(self) -> str:
        return f"mysql://root:{_USER}@{self._address(3306)}"

    def _probe(self) -> None:
        connect(self.url).close()
