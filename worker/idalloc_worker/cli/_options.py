"""Options and arguments that several commands share."""

import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from idalloc_client import AsyncIdClient, IdClient
from idalloc_schemas import MAX_APP_TAG_LENGTH, is_app_tag
from idalloc_worker import settings as configuration
from idalloc_worker.settings import (
    CallerSettings,
    broker_warnings,
    exposed,
    exposed_password,
    plain_caller_settings,
)

if TYPE_CHECKING:  # it loads pydantic, which a command like `next` does without
    from idalloc_worker.settings import Settings

_CONFIG_FILE: Final = "idalloc.config_file"

Command = TypeVar("Command", bound=Callable[..., Any])
Client = TypeVar("Client", IdClient, AsyncIdClient)


class UndecidedError(click.ClickException):
    """A question that has no answer: neither the good one nor the bad one."""

    exit_code = 2


def app_tag_name(value: str) -> str:
    """Check a tag's name as the contract has it; to be used as an argument's type."""
    if is_app_tag(value):
        return value
    raise click.BadParameter(
        f"{value!r} is not an app tag: 1 to {MAX_APP_TAG_LENGTH} characters of printable "
        "ASCII, without spaces"
    )


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


def settings_of_command(**overrides: object) -> "Settings":
    """Load the settings for the command that runs; None means that an option was not given.

    Raises SettingsError.
    """
    config_file = _config_file()
    settings = configuration.load_settings(config_file, overrides)
    if config_file is not None and (warning := exposed_password(config_file)):
        warn([warning])
    warn(filter(None, map(exposed, configuration.files_of(settings))))
    return settings


def client_of_command(kind: type[Client]) -> Callable[[], Client]:
    """Give what makes a client of this kind, which believes workers only."""
    settings = _caller_settings()
    # What they warn of is shown, or is in the error that the command ends with.
    for name in ("idalloc", "pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warn(broker_warnings(settings.broker))
    return partial(
        kind,
        settings.broker,
        exchange=settings.request_exchange,
        workers=settings.fleet_users,
    )


def _caller_settings() -> CallerSettings:
    """Read what concerns a caller; all settings where it is not plain in the environment."""
    plain = None if _config_file() else plain_caller_settings(os.environ)
    if plain is not None:
        return plain
    settings = settings_of_command()
    return CallerSettings(settings.broker_url(), settings.request_exchange, settings.fleet_users)


def _config_file() -> Path | None:
    found: Path | None = click.get_current_context().meta.get(_CONFIG_FILE)
    return found


def warn(warnings: Iterable[str]) -> None:
    """Write warnings, a line each."""
    for warning in warnings:
        click.echo(f"idalloc: warning: {warning}", err=True)


def _remember_config_file(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_CONFIG_FILE] = value  # shared by a command and its subcommands
