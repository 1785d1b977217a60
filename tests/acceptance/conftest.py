"""Fixtures for tests of whole runs: servers of their own to break, callers in processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack import (
    Database,
    PrivateMySql,
    PrivateRabbitMq,
    TcpProxy,
    private_mysql,
    private_rabbitmq,
    scratch_database,
)
from devstack.caller import Caller
from devstack.workers import Fleet

StartCallers = Callable[..., list[Caller]]


@pytest.fixture
def fleet(vhost: str, database: Database) -> Iterator[Fleet]:
    """Workers of this test alone, on its own virtual host and database."""
    with Fleet(vhost, database.url) as running:
        yield running


@pytest.fixture
def proxy(vhost: str) -> Iterator[TcpProxy]:
    """Stand in front of the broker; `through` turns an AMQP URL towards it."""
    parts = urlsplit(vhost)
    with TcpProxy(parts.hostname or "", parts.port or 5672) as running:
        yield running


@pytest.fixture
def own_rabbitmq() -> Iterator[PrivateRabbitMq]:
    with private_rabbitmq() as running:
        yield running


@pytest.fixture
def own_mysql() -> Iterator[PrivateMySql]:
    with private_mysql() as running:
        yield running


@pytest.fixture
def own_database(own_mysql: PrivateMySql) -> Iterator[Database]:
    with scratch_database(own_mysql.url) as fresh:
        yield fresh


@pytest.fixture
def start_callers(tmp_path: Path) -> Iterator[StartCallers]:
    """Start callers whose replies are recorded in `tmp_path`; none outlives the test."""
    callers: list[Caller] = []

    def start(count: int, url: str, *options: str) -> list[Caller]:
        started = [
            Caller(tmp_path, f"caller-{len(callers) + number}", url, *options)
            for number in range(count)
        ]
        callers.extend(started)
        return started

    yield start
    for caller in callers:
        caller.kill()
