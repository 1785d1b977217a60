"""Fixtures for tests with real workers."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from devstack import Database, TcpProxy
from devstack.workers import Fleet


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
