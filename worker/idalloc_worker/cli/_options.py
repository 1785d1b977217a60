"""Options and arguments that several commands share."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from idalloc_client import AsyncIdClient, IdClient
from idalloc_client.amqp import UrlSource
from idalloc_schemas import MAX_APP_TAG_LENGTH, AppTag
from idalloc_worker.mysql import MySqlAddress
from idalloc_worker.settings import (
    Settings,
    broker_warnings,
    database_warnings,
    exposed,
    exposed_password,
    files_of,
    load_settings,
)

_CONFIG_FILE: Final = "idalloc.config_file"
_APP_TAG: Final[TypeAdapter[str]] = TypeAdapter(AppTag)

Command = TypeVar("Command", bound=Callable[..., Any])
Client = TypeVar("Client", IdClient, AsyncIdClient)


class UndecidedError(click.ClickException):
    """A question that has no answer: neither the good one nor the bad one."""

    exit_code = 2


def app_tag_name(value: str) -> str:
    """Check a tag's name as the contract has it; to be used as an argument's type."""
    try:
        return _APP_TAG.validate_python(value)
    except ValidationError:
        raise click.BadParameter(
            f"{value!r} is not an app tag: 1 to {MAX_APP_TAG_LENGTH} characters of printable "
            "ASCII, without spaces"
        ) from None


def config_option(command: Command) -> Command:
    """Add `--config FILE`, which may stand before or after the name of the subcommand."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        expose_value=False,
        is_eager=True,
        callback=_remember_config_file,
        help="Settings file, .toml or .json; the environment (IDALLOC_...) wins over it.",
    )(command)


def settings_of_command(**overrides: object) -> Settings:
    """Load the settings for the command that runs; None means that an option was not given.

    Raises SettingsError.
    """
    config_file: Path | None = click.get_current_context().meta.get(_CONFIG_FILE)
    settings = load_settings(config_file, overrides)
    if config_file is not None and (warning := exposed_password(config_file)):
        _warn([warning])
    _warn(filter(None, map(exposed, files_of(settings))))
    return settings


def broker_of(settings: Settings) -> UrlSource:
    """Give the broker's URL to a command; warn where the network can read its password."""
    _warn(broker_warnings(settings))
    return settings.broker_url()


def client_of_command(kind: type[Client]) -> Callable[[], Client]:
    """Give what makes a client of this kind, which believes workers only."""
    settings = settings_of_command()
    # What they warn of is shown, or is in the error that the command ends with.
    for name in ("idalloc", "pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return partial(
        kind,
        broker_of(settings),
        exchange=settings.request_exchange,
        workers=settings.fleet_users,
    )


def database_of(settings: Settings) -> MySqlAddress:
    """Give the database's address to a command; warn where anybody can have its password.

    Raises SettingsError if none is configured.
    """
    address = settings.require_mysql()
    _warn(database_warnings(address))
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
    _warn(database_warnings(address))
    return address


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        click.echo(f"idalloc: warning: {warning}", err=True)


def _remember_config_file(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_CONFIG_FILE] = value  # shared by a command and its subcommands
