"""The command `idalloc dashboard`, which shows the fleet in a browser."""

import asyncio
import re

import click

from idalloc_client import AsyncIdClient
from idalloc_client.amqp import MAX_TIMEOUT
from idalloc_worker.cli._clients import client_of_command
from idalloc_worker.cli._options import config_option

_HOST_AND_PORT = re.compile(r"(?:\[([\da-fA-F:.%\w]+)\]|([^:\[\]]+)):(\d{1,5})")


def _address(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int]:
    found = _HOST_AND_PORT.fullmatch(value)
    if found is None or int(found[3]) > 65_535:
        raise click.BadParameter(
            f"{value!r} is not HOST:PORT; an IPv6 address stands in brackets", ctx, param
        )
    return found[1] or found[2], int(found[3])


@click.command(
    epilog="""\b
Examples:
  idalloc dashboard
  idalloc dashboard --listen 127.0.0.1:9000 --interval 5
"""
)
@click.option(
    "--listen",
    default="127.0.0.1:8642",
    show_default=True,
    metavar="HOST:PORT",
    callback=_address,
    help="Where to serve the page; port 0 takes a free one.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, MAX_TIMEOUT),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to measure between two updates.",
)
@config_option
def dashboard(listen: tuple[str, int], interval: float) -> None:
    """Show in a browser what the fleet does, as `idalloc top` does at a terminal.

    It changes and stores nothing, and asks the workers only while somebody looks.
    """
    try:
        from idalloc_worker.dashboard import Dashboard  # noqa: PLC0415  # an extra of its own
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing: pip install 'idalloc[worker,dashboard]'"
        ) from None
    client = client_of_command(AsyncIdClient)
    page = Dashboard.listen(*listen)
    if page.public:
        click.echo(
            "idalloc: warning: whoever reaches this address sees, without a password, the names "
            "of all tags and workers, their rates and their error messages",
            err=True,
        )
    asyncio.run(page.serve(client, interval, lambda: click.echo(f"The dashboard is at {page.url}")))
