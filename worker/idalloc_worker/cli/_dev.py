"""The command `idalloc dev`, a worker to test callers against: without MySQL, with faults."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import click

from idalloc_client import ConnectionLostError, IdAllocError, IdClient, RefusedError
from idalloc_schemas import RespCode
from idalloc_worker.cli._options import app_tag_name, config_option, settings_of_command
from idalloc_worker.cli._worker import serve
from idalloc_worker.dev import Faults, MemoryTable, Tag, faulty_requests
from idalloc_worker.process import Parts, configure_logging
from idalloc_worker.settings import Settings
from idalloc_worker.tags import COLUMNS, InvalidRowError

_COLUMNS: Final = ("step", "max_id", *COLUMNS)
_CODES: Final = {code.name: code for code in RespCode if code is not RespCode.SUCCESS}
_LONGEST_DELAY: Final = 3600.0
_LOUD: Final = (
    "NOT FOR PRODUCTION: ids are counted in this process's memory and come again after a restart, "
    "at the latest when RabbitMQ has lost the marks of its fleet"
)


def _tag(text: str) -> Tag:
    """Read `NAME[:COLUMN[=VALUE],...]`; the last colon ends the name."""
    name, colon, words = text.rpartition(":")
    name, words = (name, words) if colon else (text, "")
    columns: dict[str, object] = {}
    for word in filter(None, words.split(",")):
        column, _, value = word.partition("=")
        column = column.replace("-", "_")
        if column not in _COLUMNS:
            raise click.BadParameter(f"{column!r} is none of {', '.join(_COLUMNS)}")
        columns[column] = int(value) if value.isdecimal() else value or 1
    tag = Tag(app_tag_name(name), columns)
    try:
        tag.row()
    except InvalidRowError as error:
        raise click.BadParameter(error.problem) from None
    return tag


def _failure(text: str) -> tuple[str, tuple[RespCode, float]]:
    """Read `TAG=CODE[:RATE]`."""
    tag, words = _of_tag(text)
    name, _, rate = words.partition(":")
    if name not in _CODES:
        raise click.BadParameter(f"{name!r} is none of {', '.join(_CODES)}")
    return tag, (_CODES[name], click.FloatRange(0, 1)(rate or 1))


def _delay(text: str) -> tuple[str, float]:
    """Read `TAG=SECONDS`."""
    tag, seconds = _of_tag(text)
    return tag, click.FloatRange(0, _LONGEST_DELAY)(seconds)


def _gap(text: str) -> tuple[str, int]:
    """Read `TAG=N`."""
    tag, ids = _of_tag(text)
    return tag, click.IntRange(min=1)(ids)


def _of_tag(text: str) -> tuple[str, str]:
    """Divide at the last `=`; a tag may have some in its name."""
    tag, _, value = text.rpartition("=")
    return app_tag_name(tag), value


@click.command(
    epilog="""\b
Examples:
  idalloc dev
  idalloc dev --tag order:step=1000,ordered --tag invoice
  idalloc dev --fail order=BUSY:0.1 --slow invoice=0.5 --gap parcel=10

\b
Codes: NO_AVAILABLE_ID, INVALID_REQUEST, APP_TAG_NOT_FOUND, EXHAUSTED, FORBIDDEN, BUSY,
SHUTTING_DOWN, INTERNAL.
"""
)
@click.option(
    "--tag",
    "tags",
    type=_tag,
    multiple=True,
    metavar="TAG[:COLUMN[=VALUE],...]",
    help="A tag that exists, with the columns of its row. Without any, every tag exists.",
)
@click.option(
    "--fail",
    "failures",
    type=_failure,
    multiple=True,
    metavar="TAG=CODE[:RATE]",
    help="Refuse requests for a tag with a code: all of them, or this part, 0.1 say.",
)
@click.option(
    "--slow",
    "delays",
    type=_delay,
    multiple=True,
    metavar="TAG=SECONDS",
    help="Let requests for a tag wait; those past their deadline are dropped.",
)
@click.option(
    "--gap",
    "gaps",
    type=_gap,
    multiple=True,
    metavar="TAG=N",
    help="Leave out N ids of a tag after each step, as if others had them.",
)
@config_option
def dev(
    tags: Sequence[Tag],
    failures: Sequence[tuple[str, tuple[RespCode, float]]],
    delays: Sequence[tuple[str, float]],
    gaps: Sequence[tuple[str, int]],
) -> None:
    """Serve ids without MySQL, for tests of callers in any language; never in production.

    It is a worker as any other, but for its table, which is in memory: ids come again after a
    restart. It does not start beside other workers.
    """
    table = MemoryTable(tags, dict(gaps))
    faults = Faults(dict(failures), dict(delays))
    _check_names(tags, {**faults.failures, **faults.delays, **dict(gaps)})
    settings = settings_of_command(processes=1)
    configure_logging(settings.log_level, settings.log_format)
    _check_alone(settings)
    parts = Parts("a table in memory", lambda: table, faulty_requests(faults), "dev")
    serve(settings, lambda: settings_of_command(processes=1), [_LOUD], parts)


def _check_names(tags: Sequence[Tag], named: Mapping[str, object]) -> None:
    """Refuse a fault of a tag that does not exist: it would never be seen."""
    strays = named.keys() - {tag.name for tag in tags}
    if tags and strays:
        raise click.UsageError(f"no --tag names {', '.join(map(repr, sorted(strays)))}")


def _check_alone(settings: Settings) -> None:
    """See that no worker serves on this broker, whose callers would get ids of this one."""
    exchange, workers = settings.request_exchange, settings.fleet_users
    with IdClient(settings.broker_url(), exchange=exchange, workers=workers) as client:
        others = None
        while others is None:
            with contextlib.suppress(ConnectionLostError):  # it may start at the same time
                others = _others(client)
    if others:
        raise click.ClickException(
            f"{others[0]} serves on this broker. idalloc dev hands out ids from memory, which are "
            "not to be given to callers of real workers: use a RabbitMQ of your own"
        )


def _others(client: IdClient) -> list[str]:
    """Name the workers that answer. Raises ConnectionLostError."""
    try:
        return [reply.worker for reply in client.fleet_health()]
    except ConnectionLostError:
        raise
    except RefusedError:
        return ["a worker"]
    except IdAllocError:  # nobody answered, or nobody ever could
        return []
