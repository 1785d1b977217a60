"""The commands `idalloc init`, `migrate` and `tags`, which work on the table of tags."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import click

from idalloc_schemas import MAX_ID
from idalloc_worker.cli._databases import database_of, other_database, url_option
from idalloc_worker.cli._options import (
    app_tag_name,
    config_option,
    settings_of_command,
)
from idalloc_worker.cli._tag_options import check_name, settings_options, values_of
from idalloc_worker.cli._text_table import lined_up
from idalloc_worker.store import (
    AdminSession,
    CosIdCounters,
    Counter,
    Counters,
    CutCounters,
    TagAdmin,
    TagRow,
    VitessCounters,
    create_schema,
    take_over,
)
from idalloc_worker.store import migrate as migrate_table
from idalloc_worker.tags import COLUMNS, is_kind

_app_tag = click.argument("app_tag", metavar="TAG", type=app_tag_name)
_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_STEP = click.IntRange(1, MAX_ID)
_MARK = click.IntRange(0, MAX_ID)
_NUMBERS = (1, 2)  # which columns hold them; the optional ones are few and stand left
_ZERO_DATE = "0000-00-00"
_TEXTS_LAST = sorted(COLUMNS, key=lambda name: COLUMNS[name].is_text)


@click.command(
    epilog="""\b
Example:
  IDALLOC_MYSQL_URL=mysql://root:secret@db/id_alloc_db idalloc init
"""
)
@config_option
def init() -> None:
    """Create the database, the table and the tag test_business.

    Creates only what is missing, so it is safe to repeat.
    """
    settings = settings_of_command()
    address = database_of(settings)
    report = create_schema(address, settings.table)
    for created in report.created:
        click.echo(f"created {created}")
    if not report.created:
        click.echo(f"nothing to create: table {settings.table} is there at {address}")
    for warning in report.warnings:
        click.echo(f"idalloc: warning: {warning}", err=True)


@click.command(
    epilog="""\b
Example:
  IDALLOC_MYSQL_URL=mysql://root:secret@db/id_alloc_db idalloc migrate
"""
)
@config_option
def migrate() -> None:
    """Add the columns for settings of single tags.

    The table may be of an older version, or of the reference layout with four columns. You may
    repeat it, and run it while workers run: they use the new columns from their next refill on.
    """
    settings = settings_of_command()
    address = database_of(settings)
    added = migrate_table(address, settings.table).added
    for column in added:
        click.echo(f"added column {column}")
    if not added:
        click.echo(f"nothing to add: table {settings.table} at {address} has every column")


@click.group(
    epilog="""\b
Examples:
  idalloc tags add order --step 10000
  idalloc tags set order --step 50000
  idalloc tags list --json
"""
)
@config_option
def tags() -> None:
    """List, add, change and remove tags."""


@tags.command("list")
@_json_option
@config_option
def list_tags(*, as_json: bool) -> None:
    """List all tags."""
    with _admin() as admin:
        rows = admin.list()
    if as_json:
        click.echo(_to_json([_as_json(row) for row in rows]))
    else:
        _print_table(rows)


@tags.command()
@_app_tag
@_json_option
@config_option
def show(app_tag: str, *, as_json: bool) -> None:
    """Show one tag.

    Every id below max_id may have been handed out. The time is in the database's time zone. A
    setting that is not shown has its default.
    """
    with _admin() as admin:
        row = admin.show(app_tag)
    if as_json:
        click.echo(_to_json(_as_json(row)))
    else:
        _print_table([row])


@tags.command(
    epilog="""\b
Example:
  idalloc tags add order --step 10000 --start 5000000
"""
)
@_app_tag
@click.option(
    "--step", type=_STEP, required=True, help="Ids that a worker reserves at a time, at least."
)
@click.option("--start", type=_MARK, default=0, help="Where ids begin; 0 is never handed out.")
@settings_options
@config_option
def add(app_tag: str, step: int, start: int, **settings: object) -> None:
    """Add a tag.

    Workers reserve more than a step at a time if ids are used up fast. A larger step means larger
    gaps when a worker crashes: it leaves up to two segments of each tag unused. One that is stopped
    returns them, unless another one has reserved since.
    """
    values = values_of(settings)
    check_name(app_tag, values)
    if start and values.get("period"):
        raise click.UsageError("numbers of a period begin with 1: leave --start or --period out")
    for of_period in ("time_zone", "keep_periods"):
        if values.get(of_period) is not None and not values.get("period"):
            raise click.UsageError(f"--{of_period.replace('_', '-')} is for tags with --period")
    if app_tag.endswith("*") and values.get("new_per_minute") is None:
        click.echo(f"{app_tag} is no pattern, but a tag: patterns have --new-per-minute", err=True)
    with _admin() as admin:
        _print_table([admin.add(app_tag, step, start, values)])


@tags.command(
    "set",
    epilog="""\b
Example:
  idalloc tags set order --step 50000
  idalloc tags set order --ceiling 9007199254740991 --allowed-users "shop billing"
  idalloc tags set order --max-step default
""",
)
@_app_tag
@click.option("--step", type=_STEP, help="Ids that a worker reserves at a time, at least.")
@click.option("--max-id", type=_MARK, help="Where the next segment begins.")
@click.option(
    "--allow-duplicates",
    is_flag=True,
    help="Lower max_id, or give periods to a tag that was used, although ids then go out twice.",
)
@settings_options
@config_option
def set_tag(
    app_tag: str,
    step: int | None,
    max_id: int | None,
    *,
    allow_duplicates: bool,
    **settings: object,
) -> None:
    """Change a tag's settings or max_id.

    A change takes effect when a worker next reserves ids; no restart is needed. The word default
    resets an option. Raising max_id skips ids. Lowering it hands ids out twice, and is refused
    without --allow-duplicates. Stop the workers before that: a running worker remembers how far
    ids were handed out, and raises max_id above that again.
    """
    values = values_of({"step": step, "max_id": max_id, **settings})
    if not values:
        raise click.UsageError("nothing to change: give --step or --max-id or another option")
    check_name(app_tag, values)
    with _admin() as admin:
        row = admin.set(app_tag, values=values, allow_duplicates=allow_duplicates)
    _print_table([row])


@tags.command(
    "raise",
    epilog="""\b
Example:
  idalloc tags raise order --to 5000000
""",
)
@_app_tag
@click.option("--to", "mark", type=_MARK, required=True, help="The least max_id.")
@config_option
def raise_tag(app_tag: str, mark: int) -> None:
    """Make sure that a tag's max_id is N or more.

    For a database that was restored from a backup: stop the workers, then raise each tag above all
    ids that were handed out. It never lowers max_id, so it is safe to repeat.
    """
    with _admin() as admin:
        before = admin.show(app_tag).max_id
        row = admin.raise_mark(app_tag, mark)
    _print_table([row])
    if row.max_id == before:
        click.echo(f"nothing to raise: max_id is {before} already")


@tags.command()
@_app_tag
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def remove(app_tag: str, *, yes: bool) -> None:
    """Remove a tag.

    Workers hand out the ids that they hold of it until they reserve again. Then they drop the rest,
    and refuse the tag. If you add it again, its ids begin at --start: ids below the old max_id may
    go out twice.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for confirmation; give --yes")
    with _admin() as admin:
        row = admin.show(app_tag)
        question = f"Remove {app_tag}? Every id below {row.max_id} may be in use."
        if not yes and not click.confirm(question, err=True):
            raise click.ClickException("nothing was removed")
        row = admin.remove(app_tag)
    if is_kind(row.settings["period"]):
        advice = "the rows of its periods are still there, and go on if you add it again"
    else:
        advice = f"to add it again without duplicates: --start {row.max_id}"
    click.echo(f"removed {app_tag}; {advice}")


@tags.command(
    "import",
    epilog="""\b
Examples:
  idalloc tags import cosid shop.order --strip shop. --step 10000 --block 10000000 --dry-run
  idalloc tags import vitess order_seq --strip _seq --step 10000 --off
  echo order $(redis-cli INCRBY order 10000000) |
    idalloc tags import lines - --step 10000 --block 10000000
""",
)
@click.argument("source", type=click.Choice(["cosid", "vitess", "lines"]))
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--step", type=_STEP, required=True, help="Ids that a worker reserves at a time, for new tags."
)
@click.option(
    "--block",
    type=_STEP,
    help="The other system goes on above as many ids, and the tag gets these: for a roll-out.",
)
@click.option("--off", is_flag=True, help="Nobody uses the other system: the tag gets all above.")
@click.option(
    "--strip", multiple=True, metavar="TEXT", help="What a name begins or ends with, and a tag not."
)
@click.option("--table", default="cosid", show_default=True, help="The table of CosId.")
@click.option("--dry-run", is_flag=True, help="Say what it would do.")
@url_option("IDALLOC_IMPORT_URL", "The other system's database")
@config_option
def import_tags(  # noqa: PLR0913  # click hands over each option
    *,
    source: str,
    names: Sequence[str],
    step: int,
    block: int | None,
    off: bool,
    strip: Sequence[str],
    table: str,
    dry_run: bool,
    url: str | None,
) -> None:
    """Take counters of another id generator over.

    cosid: its rows of these NAMEs, or all. vitess: the sequences NAME. lines: the files NAME (- is
    the standard input) have a name and a last id in a line each, with --block that of a block which
    is out of use already, as Redis's INCRBY gives it. With --off a tag that was taken over before
    is raised, and loses its ceiling.
    """
    if (block is None) is not off:
        raise click.UsageError("give --block N, or --off if nobody uses the other system any more")
    if source != "cosid" and not names:
        raise click.UsageError(f"{source} needs a NAME")

    def tag_of(name: str) -> str:
        for text in strip:
            name = name.removeprefix(text).removesuffix(text)
        return app_tag_name(name)

    with _counters(source, names, table, url, block or 0) as counters, _admin() as admin:
        for got in take_over(admin, counters, tag_of, step, block, dry_run=dry_run):
            would = "would get" if dry_run else "gets"
            end = "on" if got.ceiling is None else f"to {got.ceiling}"
            new = " (a new tag)" if got.new else ""
            click.echo(f"{got.app_tag} {would} ids from {got.start} {end}{new}")


@contextmanager
def _counters(
    source: str, names: Sequence[str], table: str, url: str | None, cut: int
) -> Iterator[Counters]:
    if source == "lines":
        yield CutCounters([counter for name in names for counter in _lines(name, cut)])
        return
    with AdminSession(other_database(url, settings_of_command())) as session:
        if source == "cosid":
            yield CosIdCounters(session, table, names)
        else:
            yield VitessCounters(session, names)


def _lines(file: str, cut: int) -> Iterator[Counter]:
    """Read names and last ids; of the last ones `cut` are to be had."""
    with click.open_file(file, encoding="utf-8") as lines:
        for line in lines:
            name, _, last = line.strip().rpartition(" ")
            if not last.isdecimal():
                raise click.UsageError(f"{file}: {line.strip()!r} is not a name and its last id")
            yield Counter(name.strip(), int(last) + 1 - cut)


@contextmanager
def _admin() -> Iterator[TagAdmin]:
    settings = settings_of_command()
    with AdminSession(database_of(settings)) as session:
        yield TagAdmin(session, settings.table)


def _as_json(row: TagRow) -> dict[str, object]:
    return {
        "app_tag": row.app_tag,
        "max_id": row.max_id,
        "step": row.step,
        "update_time": _time(row.update_time),
        "space_used_percent": None if row.space_used is None else round(row.space_used, 3),
        **{name: COLUMNS[name].as_json(value) for name, value in row.settings.items()},
    }


def _time(value: object) -> str | None:
    """Write a time, or whatever else the column holds, as text; a zero date is none."""
    if isinstance(value, date):
        return value.isoformat()
    return None if value is None or str(value).startswith(_ZERO_DATE) else str(value)


def _to_json(value: object) -> str:
    """Write JSON; what it has no type for, as a DECIMAL column, as text."""
    return json.dumps(value, default=str)


def _print_table(rows: Sequence[TagRow]) -> None:
    """Print a line for each tag, with the optional columns that are in use, the texts last."""
    used = [name for name in _TEXTS_LAST if any(row.settings[name] is not None for row in rows)]
    lines = [["TAG", "MAX_ID", "STEP", "UPDATED", *map(str.upper, used)]]
    for row in rows:
        settings = [_shown(row.settings[name]) for name in used]
        needed = (row.app_tag, row.max_id, row.step)
        cells = ["NULL" if value is None else str(value) for value in needed]
        lines.append([*cells, _shown(row.update_time), *settings])
    for line in lined_up(lines, _NUMBERS):
        click.echo(line)


def _shown(value: object) -> str:
    return "-" if value is None else str(value)
