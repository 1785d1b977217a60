"""Fixtures for tests with real workers."""

from collections.abc import Iterator

import pytest

from tests.devstack import Database
from tests.workers import Fleet


@pytest.fixture
def fleet(vhost: str, database: Database) -> Iterator[Fleet]:
    """Workers of this test alone, on its own virtual host and database."""
    with Fleet(vhost, database.url) as running:
        yield running
