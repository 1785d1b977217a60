"""Which database a command uses."""

from collections.abc import Callable

import click

from idalloc_worker.cli._options import Command, warn
from idalloc_worker.mysql import MySqlAddress
from idalloc_worker.settings import Settings, database_warnings


def database_of(settings: Settings) -> MySqlAddress:
    """Give the database's address to a command; warn where anybody can have its password.

    Raises SettingsError if none is configured.
    """
    address = settings.require_mysql()
    warn(database_warnings(address))
    return address


def url_option(variable: str, whose: str) -> Callable[[Command], Command]:
    """Add `--url URL` for a database that is not the workers' own."""
    return click.option(
        "--url",
        envvar=variable,
        metavar="URL",
        help=f"{whose}, by default the workers' own: mysql://user:password@host/database. In the "
        f"environment ({variable}) other users of this machine do not see the password.",
    )


def other_database(url: str | None, settings: Settings) -> MySqlAddress:
    """Give the address of the option's database, or else of the workers' own."""
    if url is None:
        return settings.require_mysql()
    try:
        address = MySqlAddress.parse(url)
    except ValueError as error:
        raise click.UsageError(f"--url {error}") from None
    warn(database_warnings(address))
    return address
