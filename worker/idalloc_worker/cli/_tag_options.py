"""The options of `idalloc tags` for settings that a tag may have or leave to the default."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from idalloc_schemas import MAX_ID
from idalloc_worker.store import Values

DEFAULT: Final = "default"
"""The word that sets an option back."""

Command = TypeVar("Command", bound=Callable[..., Any])


_MAX_USERS: Final = 1000  # characters


def _or_default(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Take what `convert` takes, or the word `default`."""
    return lambda value: DEFAULT if value == DEFAULT else convert(value)


def _integer(least: int, most: int = MAX_ID) -> Callable[[Any], Any]:
    accepted = click.IntRange(least, most)
    return lambda value: accepted.convert(value, None, None)


def _yes_or_no(value: str) -> Any:
    return click.BOOL.convert(value, None, None)


def _users(value: str) -> str:
    names = " ".join(value.split())
    if not names:
        raise click.BadParameter(f"name a user, or say {DEFAULT}, which lets everybody draw")
    if len(names) > _MAX_USERS:
        raise click.BadParameter(f"must have at most {_MAX_USERS} characters")
    return names


_OPTIONS: Final = (
    click.option(
        "--max-step",
        metavar=f"N|{DEFAULT}",
        type=_or_default(_integer(1)),
        help="Ids that a worker reserves at a time, at most.",
    ),
    click.option(
        "--target-cover",
        metavar=f"SECONDS|{DEFAULT}",
        type=_or_default(_integer(0, 2**31 - 1)),
        help="How long the ids in memory should last (600); 0: the step is fixed.",
    ),
    click.option(
        "--ceiling",
        metavar=f"N|{DEFAULT}",
        type=_or_default(_integer(1)),
        help="The highest id that may be handed out.",
    ),
    click.option(
        "--allowed-users",
        metavar=f"USERS|{DEFAULT}",
        type=_or_default(_users),
        help="RabbitMQ users who may draw, with a space between them; default: everybody.",
    ),
    click.option(
        "--ordered",
        metavar=f"yes|no|{DEFAULT}",
        type=_or_default(_yes_or_no),
        help="Whether ids must rise across all workers.",
    ),
    click.option(
        "--max-count",
        metavar=f"N|{DEFAULT}",
        type=_or_default(_integer(1)),
        help="Ids that one request may ask for.",
    ),
    click.option(
        "--user-rate",
        metavar=f"N|{DEFAULT}",
        type=_or_default(_integer(1)),
        help="Ids a second for one RabbitMQ user, from each worker process.",
    ),
)


def settings_options(command: Command) -> Command:
    """Add an option for each setting that has a default."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def values_of(options: Mapping[str, Any]) -> Values:
    """Tell what to write for the options that were given."""
    return {
        name: None if value == DEFAULT else int(value) if isinstance(value, bool) else value
        for name, value in options.items()
        if value is not None
    }
