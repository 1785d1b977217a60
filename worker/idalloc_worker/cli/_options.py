"""Options and arguments that several commands share."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from idalloc_schemas import MAX_APP_TAG_LENGTH, is_app_tag
from idalloc_worker import settings as configuration
from idalloc_worker.settings import (
    exposed,
    exposed_password,
)

if TYPE_CHECKING:  # it loads pydantic, which a command like `next` does without
    from idalloc_worker.settings import Settings

_CONFIG_FILE: Final = "idalloc.config_file"

Command = TypeVar("Command", bound=Callable[..., Any])


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
    config_file = config_file_of_command()
    settings = configuration.load_settings(config_file, overrides)
    if config_file is not None and (warning := exposed_password(config_file)):
        warn([warning])
    warn(filter(None, map(exposed, configuration.files_of(settings))))
    return settings


def config_file_of_command() -> Path | None:
    """Say which file of settings the command was given."""
    found: Path | None = click.get_current_context().meta.get(_CONFIG_FILE)
    return found


def warn(warnings: Iterable[str]) -> None:
    """Write warnings, a line each."""
    for warning in warnings:
        click.echo(f"idalloc: warning: {warning}", err=True)


def _remember_config_file(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_CONFIG_FILE] = value  # shared by a command and its subcommands
