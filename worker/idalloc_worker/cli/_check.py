"""The command `idalloc check`, which compares tags with the highest ids that applications store."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from idalloc_schemas import MAX_ID
from idalloc_worker.cli._databases import database_of, other_database, url_option
from idalloc_worker.cli._options import (
    UndecidedError,
    app_tag_name,
    config_option,
    settings_of_command,
)
from idalloc_worker.store import AdminSession, Comparison, IdColumn, TagAdmin, Verdict, compare
from idalloc_worker.tags import StoreError

_PATIENCE: Final = 600.0
"""Seconds for an answer: without an index the server reads every row."""

_STATUS: Final = {Verdict.ABOVE: 0, Verdict.BELOW: 1, Verdict.UNKNOWN: 2}
_GRAVEST: Final = (Verdict.BELOW, Verdict.UNKNOWN, Verdict.ABOVE)
_HEADING: Final = {"app_tag", "table", "column", "prefix"}

Columns = Mapping[str, Sequence[IdColumn]]


@click.command(
    epilog="""\b
Examples:
  idalloc check order --table shop.orders
  idalloc check order --table shop.orders --table archive.orders --column order_id --raise
  IDALLOC_CHECK_URL=mysql://reader:secret@shop-db/shop idalloc check order --table orders
  idalloc check --file columns.csv

\b
Exit codes:
  0 each row is above, 1 a row is below, so that ids would come twice, 2 it cannot be told
"""
)
@click.argument("app_tag", metavar="[TAG]", required=False, type=app_tag_name)
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="[DATABASE.]TABLE",
    help="An application's table; may be repeated.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    help="Its column with the ids; by default id. Once for all tables, or once for each.",
)
@click.option("--prefix", help="The column has texts: this prefix, which may be empty, and digits.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the heading app_tag,table,column, and prefix where a column needs it.",
)
@click.option(
    "--margin",
    type=click.IntRange(0, MAX_ID),
    default=0,
    help="How many ids callers may hold that they have not stored yet.",
)
@click.option("--raise", "to_raise", is_flag=True, help="Raise a row that is below.")
@click.option("--dry-run", is_flag=True, help="With --raise, say what it would do.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@url_option("IDALLOC_CHECK_URL", "The application's database")
@config_option
def check(  # noqa: PLR0913  # click hands over each option
    *,
    app_tag: str | None,
    tables: Sequence[str],
    columns: Sequence[str],
    prefix: str | None,
    file: Path | None,
    margin: int,
    url: str | None,
    to_raise: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """See whether a tag's row is above every id that an application has stored.

    For a database that was restored, before workers start: what is below would be handed out a
    second time. Ids above the tag's ceiling are not looked at: they are not of this tag. Ids that
    callers hold in memory are in no table: see --margin.
    """
    if dry_run and not to_raise:
        raise click.UsageError("--dry-run goes with --raise")
    if (file is None) == (app_tag is None or not tables):
        raise click.UsageError("give a tag and --table, or --file")
    wanted = _listed(file) if file else {app_tag or "": _columns(tables, columns, prefix)}
    found = []
    try:
        for one in _compared(wanted, url, margin, to_raise=to_raise and not dry_run):
            found.append(one)
            if not as_json:
                _tell(one, dry_run=dry_run)
    except StoreError as error:
        raise UndecidedError(str(error)) from error
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in found]))
    verdicts = {one.verdict for one in found}
    return next((_STATUS[one] for one in _GRAVEST if one in verdicts), 0)


def _columns(
    tables: Sequence[str], columns: Sequence[str], prefix: str | None
) -> Sequence[IdColumn]:
    names = columns or ["id"]
    if len(names) == 1:
        names = [*names] * len(tables)
    if len(names) != len(tables):
        raise click.UsageError("give --column once, or once for each --table")
    return [IdColumn(*pair, prefix) for pair in zip(tables, names, strict=True)]


def _listed(file: Path) -> Columns:
    """Read which columns hold ids of which tags."""
    wanted: dict[str, list[IdColumn]] = {}
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if not {"app_tag", "table"} <= set(reader.fieldnames or ()) <= _HEADING:
            raise click.UsageError(f"{file} needs the heading app_tag,table,column")
        for row in reader:
            column = IdColumn(row["table"], row.get("column") or "id", row.get("prefix") or None)
            wanted.setdefault(app_tag_name(row["app_tag"]), []).append(column)
    if not wanted:
        raise click.UsageError(f"{file} names no tag")
    return wanted


def _compared(
    wanted: Columns, url: str | None, margin: int, *, to_raise: bool
) -> Iterator[Comparison]:
    settings = settings_of_command()
    address = other_database(url, settings)
    with (
        AdminSession(database_of(settings)) as session,
        AdminSession(address, patience=_PATIENCE) as application,
    ):
        admin = TagAdmin(session, settings.table)
        for app_tag, columns in wanted.items():
            found = compare(admin, application, app_tag, columns, margin)
            if to_raise and found.verdict is Verdict.BELOW:
                found.raise_row(admin)
            yield found


def _as_json(found: Comparison) -> dict[str, object]:
    return asdict(found) | {"verdict": found.verdict.value}


def _tell(found: Comparison, *, dry_run: bool) -> None:
    for warning in found.warnings:
        click.echo(f"idalloc: warning: {warning}", err=True)
    for problem in found.problems:
        click.echo(f"idalloc: {problem}", err=True)
    click.echo(f"{found.app_tag}: {_verdict(found, dry_run=dry_run)}")


def _verdict(found: Comparison, *, dry_run: bool) -> str:
    row = f"max_id {found.max_id}"
    if found.raised_from is not None:
        row = f"max_id was raised from {found.raised_from} to {found.max_id}, which"
    if found.highest is None:
        return f"{row}, and no id is stored" if not found.problems else "cannot be told"
    if found.max_id is None:
        return f"no row, and the highest id is {found.highest}: begin with --start {found.needed}"
    if found.verdict is Verdict.BELOW:
        then = "it would be raised" if dry_run else "raise it (--raise)"
        return f"{row} is below {found.needed}: ids up to {found.highest} are stored; {then}"
    above = f"{row} is above the highest id, {found.highest}"
    return above if not found.problems else f"{above}, but not all could be looked at"
