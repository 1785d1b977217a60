"""What commands that ask workers share."""

import click
import pytest

from idalloc_client import AsyncIdClient, IdClient
from idalloc_worker.cli._clients import client_of_command


def test_commands_believe_workers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the users that workers log in with are named, replies of others are no replies."""
    monkeypatch.setenv("IDALLOC_AMQP_URL", "amqp://127.0.0.1/")
    monkeypatch.setenv("IDALLOC_FLEET_USERS", "first,second")
    with click.Context(click.Command("any")):
        clients = client_of_command(IdClient)(), client_of_command(AsyncIdClient)()
    assert {client._options.workers for client in clients} == {frozenset((b"first", b"second"))}
