"""How `idalloc dashboard` reads its options."""

import click
import pytest

from idalloc_worker.cli._dashboard import dashboard
from idalloc_worker.cli._main import cli


def listen(*options: str) -> object:
    # Below the group: a command keeps for ever the options for help that it is first made with.
    group = click.Context(cli, **cli.context_settings)
    with dashboard.make_context("dashboard", list(options), parent=group) as context:
        return context.params["listen"]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1:8642", ("127.0.0.1", 8642)),
        ("dash.example:0", ("dash.example", 0)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_an_address_is_host_and_port(value: str, address: tuple[str, int]) -> None:
    """An IPv6 address stands in brackets, as in a URL."""
    assert listen("--listen", value) == address


@pytest.mark.parametrize("value", ["8642", "localhost", "::1:80", "a:b", "h:99999", ":80", ""])
def test_a_bad_address_is_refused(value: str) -> None:
    """As wrong usage, with what is expected."""
    with pytest.raises(click.BadParameter, match="is not HOST:PORT"):
        listen("--listen", value)


def test_it_listens_on_loopback_unless_told() -> None:
    """What it shows is for who is on this machine."""
    assert listen() == ("127.0.0.1", 8642)
