"""The options of `idalloc tags` for settings that a tag may have or leave to the default."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from idalloc_schemas import Period, PeriodKind
from idalloc_worker.store import Values
from idalloc_worker.tags import COLUMNS, Column, Names, Number, Word, YesNo, is_kind

DEFAULT: Final = "default"
"""The word that sets an option back."""

Command = TypeVar("Command", bound=Callable[..., Any])

_ROOM: Final = {"INT": 2**31 - 1}
"""The highest number of a type that has less room than most may have."""


def settings_options(command: Command) -> Command:
    """Add an option for each setting that has a default."""
    for name, column in reversed(COLUMNS.items()):
        command = click.option(
            f"--{name.replace('_', '-')}",
            metavar=f"{column.metavar}|{DEFAULT}",
            type=_or_default(column),
            help=column.help,
        )(command)
    return command


def values_of(options: Mapping[str, Any]) -> Values:
    """Tell what to write for the options that were given."""
    return {
        name: None if value == DEFAULT else int(value) if isinstance(value, bool) else value
        for name, value in options.items()
        if value is not None
    }


def check_name(app_tag: str, values: Values) -> None:
    """Raise UsageError for settings that a tag of this name cannot have."""
    if values.get("new_per_minute") is not None and not app_tag.endswith("*"):
        raise click.UsageError("--new-per-minute is for patterns, whose names end in *: 'tenant-*'")
    period = values.get("period")
    if is_kind(period) and Period.of_row(app_tag) is not None:
        raise click.UsageError(f"{app_tag} is the name of a period; --period is for its tag")
    most = PeriodKind(str(period)).longest_tag if is_kind(period) else len(app_tag)
    if len(app_tag) > most:
        raise click.UsageError(f"with --period {period} a TAG has at most {most} characters")


def _or_default(column: Column) -> Callable[[str], Any]:
    """Take what the column may hold, or the word `default`."""
    return lambda value: DEFAULT if value == DEFAULT else _convert(column, value)


def _convert(column: Column, value: Any) -> Any:
    match column:
        case YesNo():
            return _yes_or_no(value)
        case Number():
            most = _ROOM.get(column.sql_type, column.most)
            return click.IntRange(column.least, most).convert(value, None, None)
        case Names():
            return _names(column, value)
        case Word():
            return _word(column, value)
    raise NotImplementedError(f"no option for {column}")


def _yes_or_no(value: Any) -> bool:
    try:
        return click.BOOL.convert(value, None, None)
    except click.BadParameter:
        raise click.BadParameter(f"'{value}' is none of yes, no and {DEFAULT}") from None


def _word(column: Word, value: str) -> str:
    try:
        column.read(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not {error}") from None
    return value


def _names(column: Names, value: str) -> str:
    names = " ".join(value.split())
    if not names:
        raise click.BadParameter(f"name a user, or say {DEFAULT}, which lets everybody draw")
    if len(names) > column.longest:
        raise click.BadParameter(f"must have at most {column.longest} characters")
    return names
