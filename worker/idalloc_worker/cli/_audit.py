"""The command `idalloc audit`, which looks through files for ids that were handed out twice."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from idalloc_worker.cli._options import UndecidedError, app_tag_name, config_option
from idalloc_worker.cli._text_table import lined_up

if TYPE_CHECKING:
    from idalloc_worker.audit import History, Report

_HEADING: Final = ("TAG", "IDS", "LOWEST", "HIGHEST", "GAPS", "MISSING", "DUPLICATES", "FALLS")
_NUMBERS: Final = range(1, len(_HEADING))
_FAULTY: Final = 1
_UNDECIDED: Final = 2


@click.command(
    epilog="""\b
Examples:
  idalloc audit replies-*.jsonl
  idalloc audit --ordered invoice --clocks 0.05 shop-1.jsonl shop-2.jsonl
  mysql -BN -e 'SELECT id FROM shop.orders' | idalloc audit --tag order -

\b
Exit codes:
  0 no id twice and none out of order, 1 some are, 2 it cannot be told
"""
)
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
)
@click.option("--tag", "app_tag", default="-", help="The tag of lines that name none.")
@click.option(
    "--ordered",
    multiple=True,
    metavar="TAG",
    type=app_tag_name,
    help="A tag whose ids must rise in the order of requests; may be repeated.",
)
@click.option(
    "--clocks",
    "slack",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="By how much the clocks of those who wrote the files may differ.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@config_option
def audit(
    files: Sequence[str], app_tag: str, ordered: Sequence[str], slack: float, *, as_json: bool
) -> int:
    """Find ids that went out twice, or out of order, in records of replies or columns of ids.

    A FILE has a JSON object a line (app_tag; id, count or ranges; worker, sent_at, received_at), or
    rows of CSV under a heading with such names, or ids; - is the standard input. Files are read
    once, and sorted on the disk (TMPDIR): memory does not grow with them.
    """
    try:
        from idalloc_worker.audit import AuditError, History  # noqa: PLC0415  # needs SQLite
    except ModuleNotFoundError as error:  # as of a Python that was built without it
        raise UndecidedError(f"{error.name} is missing in this Python") from None
    try:
        report = _read(files, app_tag, History(ordered, slack))
    except (AuditError, OSError) as error:
        raise UndecidedError(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        _print(report)
    if report.faults:
        return _FAULTY
    return 0 if report.complete else _UNDECIDED


def _read(files: Sequence[str], app_tag: str, history: "History") -> "Report":
    with history:
        for name in files:
            # A byte that is no UTF-8 makes a line unreadable, and not the whole file.
            with click.open_file(name, encoding="utf-8-sig", errors="replace") as file:
                history.read(name, file, app_tag)
        return history.judge()


def _print(report: "Report") -> None:
    lines = [[*_HEADING]]
    for tag in report.tags:
        numbers = (tag.ids, tag.lowest, tag.highest, tag.gaps, tag.missing)
        lines.append([tag.app_tag, *map(str, (*numbers, tag.duplicates, tag.falls))])
    for line in lined_up(lines, _NUMBERS):
        click.echo(line)
    for tag in report.tags:
        for one in tag.duplicate_examples:
            ids = f"{one.first}" if one.first == one.last else f"{one.first} to {one.last}"
            click.echo(f"{tag.app_tag} {ids}: {one.places[0]} and {one.places[1]}")
        for fall in tag.fall_examples:
            asked = f"asked for after {fall.higher} had come ({fall.places[0]})"
            click.echo(f"{tag.app_tag} {fall.lower}: {fall.places[1]}, {asked}")
    click.echo(f"{report.records} records; the order of {report.in_order} could be looked at")
    for example in report.unreadable_examples:
        click.echo(f"idalloc: {example}", err=True)
    if report.unreadable:
        click.echo(f"idalloc: {report.unreadable} lines could not be read", err=True)
    if not report.records:
        click.echo("idalloc: there is no record to look at", err=True)
