"""Chooses where RabbitMQ and MySQL come from, and has both run."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from devstack.servers import _docker, _install
from devstack.servers._errors import DevStackError
from devstack.servers._mysql import PrivateMySql
from devstack.servers._rabbitmq import PrivateRabbitMq
from devstack.servers._replication import ReplicatedPair

AMQP_URL = "IDALLOC_TEST_AMQP_URL"
MANAGEMENT_URL = "IDALLOC_TEST_MANAGEMENT_URL"
MYSQL_URL = "IDALLOC_TEST_MYSQL_URL"

Source = Literal["given", "docker", "private"]


@dataclass(frozen=True)
class Stack:
    """A running RabbitMQ and a running MySQL.

    `mysql_url` names a server, not a database; its user may create databases and users. `source`
    says for the reader where the servers come from.
    """

    amqp_url: str
    mysql_url: str
    management_url: str
    source: str


@dataclass(frozen=True)
class Plan:
    """Where each of the two servers is to come from."""

    rabbitmq: Source
    mysql: Source

    def __str__(self) -> str:
        return f"RabbitMQ {self.rabbitmq}, MySQL {self.mysql}"


class Broker(Protocol):
    """A RabbitMQ that can be started."""

    @property
    def url(self) -> str: ...
    @property
    def management_url(self) -> str: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


class Database(Protocol):
    """A MySQL that can be started."""

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class GivenBroker:
    """A RabbitMQ that somebody else runs."""

    url: str
    management_url: str

    def start(self) -> None:
        """Do nothing: it runs."""

    def close(self) -> None:
        """Do nothing: it is not ours to stop."""


@dataclass(frozen=True)
class GivenDatabase:
    """A MySQL that somebody else runs."""

    url: str

    def start(self) -> None:
        """Do nothing: it runs."""

    def close(self) -> None:
        """Do nothing: it is not ours to stop."""


def make_plan(environ: Mapping[str, str], docker_answers: Callable[[], bool]) -> Plan:
    """Decide by the environment, then by whether Docker is there.

    Raises DevStackError if only one of the two URLs of the broker is set: the other would have to
    be another broker's.
    """
    given_broker = [name for name in (AMQP_URL, MANAGEMENT_URL) if environ.get(name)]
    if len(given_broker) == 1:
        missing = MANAGEMENT_URL if given_broker == [AMQP_URL] else AMQP_URL
        raise DevStackError(
            f"{given_broker[0]} is set but {missing} is not: they name the same broker, "
            "so set both or neither"
        )
    given_database = bool(environ.get(MYSQL_URL))
    if given_broker and given_database:
        return Plan("given", "given")
    ours: Source = "docker" if docker_answers() else "private"
    return Plan("given" if given_broker else ours, "given" if given_database else ours)


def private_rabbitmq() -> PrivateRabbitMq:
    """Return a RabbitMQ of our own, not yet started, after installing it where needed and allowed.

    Raises NotInstalledError.
    """
    _install.ensure_installed(rabbitmq=True, mysql=False)
    return PrivateRabbitMq()


def private_mysql() -> PrivateMySql:
    """Return a MySQL of our own, not yet started, after installing it where needed and allowed.

    Raises NotInstalledError.
    """
    _install.ensure_installed(rabbitmq=False, mysql=True)
    return PrivateMySql()


def replicated_pair() -> ReplicatedPair:
    """Return two MySQL of our own, not yet started, of which one is to copy the other.

    Raises NotInstalledError.
    """
    _install.ensure_installed(rabbitmq=False, mysql=True)
    return ReplicatedPair()


@contextmanager
def running_stack(*, durable: bool = False) -> Iterator[Stack]:
    """Have a RabbitMQ and a MySQL run: those of the environment, else Docker's, else private ones.

    A private MySQL is as `durable` as by default only where that is asked for.

    Raises DevStackError, with the server's log if one does not start.
    """
    plan = make_plan(os.environ, _docker.engine_answers)
    _install.ensure_installed(rabbitmq=plan.rabbitmq == "private", mysql=plan.mysql == "private")
    broker, database = _broker(plan), _database(plan, durable=durable)
    try:
        _start_together([broker, database])
        yield Stack(broker.url, database.url, broker.management_url, str(plan))
    finally:
        _close_together([broker, database])


def _broker(plan: Plan) -> Broker:
    match plan.rabbitmq:
        case "given":
            return GivenBroker(os.environ[AMQP_URL], os.environ[MANAGEMENT_URL])
        case "docker":
            return _docker.DockerRabbitMq()
        case "private":
            return PrivateRabbitMq()


def _database(plan: Plan, *, durable: bool) -> Database:
    match plan.mysql:
        case "given":
            return GivenDatabase(os.environ[MYSQL_URL].rstrip("/"))
        case "docker":
            return _docker.DockerMySql()
        case "private":
            return PrivateMySql(durable=durable)


def _start_together(servers: Sequence[Broker | Database]) -> None:
    with ThreadPoolExecutor(len(servers), thread_name_prefix="devstack-start") as pool:
        starts = [pool.submit(server.start) for server in servers]
        try:
            wait(starts, return_when=FIRST_EXCEPTION)
            for start in starts:
                if start.done():
                    start.result()
        except BaseException:
            # Also on Ctrl-C: closing makes a start that still runs fail, so that the pool can end.
            _close_together(servers)
            raise


def _close_together(servers: Sequence[Broker | Database]) -> None:
    with ThreadPoolExecutor(len(servers), thread_name_prefix="devstack-close") as pool:
        closes = [pool.submit(server.close) for server in servers]
    for error in filter(None, (close.exception() for close in closes)):
        print(f"devstack: {error!r} while stopping a server", file=sys.stderr)  # noqa: T201 - nobody else would tell
