"""What commands that ask workers share."""

import logging
from collections.abc import Iterator

import click
import pytest

from idalloc_client import AsyncIdClient, IdClient
from idalloc_worker.cli._clients import client_of_command


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    """Commands quieten them: what later tests look for in the log would not be there."""
    loggers = [logging.getLogger(name) for name in ("idalloc", "pika")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_commands_believe_workers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the users that workers log in with are named, replies of others are no replies."""
    monkeypatch.setenv("IDALLOC_AMQP_URL", "amqp://127.0.0.1/")
    monkeypatch.setenv("IDALLOC_FLEET_USERS", "first,second")
    with click.Context(click.Command("any")):
        clients = client_of_command(IdClient)(), client_of_command(AsyncIdClient)()
    assert {client._options.workers for client in clients} == {frozenset((b"first", b"second"))}
