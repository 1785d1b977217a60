"""Gives every test its servers: one stack per run, a database and a vhost of its own per test."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest

from devstack import (
    Database,
    PrivateRabbitMq,
    Stack,
    TcpProxy,
    private_rabbitmq,
    running_stack,
    scratch_database,
    scratch_vhost,
    shared_stack,
    stack_on_demand,
)
from devstack.warm_start import WarmStart
from devstack.workers import Fleet, Worker

PATIENT = {"IDALLOC_WAIT_TIMEOUT": "20", "IDALLOC_REFILL_TIMEOUT": "20"}
"""Settings of workers whose requests are answered however long the database takes for a refill."""

_ADDRESS = pytest.StashKey[str]()

# A busy machine makes a slow example, not a wrong one.
hypothesis.settings.register_profile("ci", deadline=None)
hypothesis.settings.load_profile("ci")


def pytest_configure_node(node: Any) -> None:
    """Tell each process of a run where its one stack is to be had (a hook of pytest-xdist)."""
    config: pytest.Config = node.config
    if _ADDRESS not in config.stash:
        held = ExitStack()
        config.stash[_ADDRESS] = held.enter_context(stack_on_demand())
        config.add_cleanup(held.close)
    node.workerinput["stack"] = config.stash[_ADDRESS]


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Let the tests that follow see what is logged: commands quieten it for their whole process."""
    loggers = [logging.getLogger(name) for name in ("", "idalloc", "pika")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def warm_workers() -> Iterator[None]:
    """Start workers from a process that has imported them: imports are most of a start's cost."""
    with WarmStart() as warm:
        Worker.starter = warm
        yield
        Worker.starter = None


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Have RabbitMQ and MySQL run for the whole session; where they cannot, the test fails."""
    given: dict[str, str] = getattr(request.config, "workerinput", {})
    if "stack" in given:
        yield shared_stack(given["stack"])
    else:
        with running_stack() as running:
            yield running


@pytest.fixture(scope="session")
def amqp_url(stack: Stack) -> str:
    """Name the broker's own vhost; tests that use the product's queues ask for `vhost`."""
    return stack.amqp_url


@pytest.fixture(scope="session")
def mysql_url(stack: Stack) -> str:
    """Name the server, without a database."""
    return stack.mysql_url


@pytest.fixture(scope="session")
def management_url(stack: Stack) -> str:
    return stack.management_url


@pytest.fixture
def database(mysql_url: str) -> Iterator[Database]:
    """Give a database that nobody else uses, with what schema.sql puts into one."""
    with scratch_database(mysql_url) as fresh:
        yield fresh


@pytest.fixture
def vhost(stack: Stack) -> Iterator[str]:
    """Give the AMQP URL of a vhost of the test's own, as the contract fixes the queues' names."""
    name = f"idalloc-test-{secrets.token_hex(6)}"
    with scratch_vhost(stack.amqp_url, stack.management_url, name) as url:
        yield url


@pytest.fixture
def fleet(vhost: str, database: Database) -> Iterator[Fleet]:
    """Workers of this test alone, on its own virtual host and database."""
    with Fleet(vhost, database.url, PATIENT) as running:
        yield running


@pytest.fixture
def proxy(vhost: str) -> Iterator[TcpProxy]:
    """Stand in front of the broker; `through` turns an AMQP URL towards it."""
    parts = urlsplit(vhost)
    with TcpProxy(parts.hostname or "", parts.port or 5672) as running:
        yield running


@pytest.fixture
def own_rabbitmq() -> Iterator[PrivateRabbitMq]:
    """Give a broker to break."""
    with private_rabbitmq() as running:
        yield running
