"""The commands `idalloc init` and `idalloc tags`, which work on the table of tags."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from idalloc_schemas import MAX_ID
from idalloc_worker._admin_session import AdminSession
from idalloc_worker._cli_options import app_tag_name, config_option, settings_of_command
from idalloc_worker._schema import create_schema
from idalloc_worker._tags import TagAdmin, TagRow

_app_tag = click.argument("app_tag", metavar="TAG", type=app_tag_name)
_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_STEP = click.IntRange(1, MAX_ID)
_MARK = click.IntRange(0, MAX_ID)


@click.command(
    epilog="""\b
Example:
  IDALLOC_MYSQL_URL=mysql://root:secret@db/id_alloc_db idalloc init
"""
)
@config_option
def init() -> None:
    """Create the database, the table and the tag test_business.

    Creates what is missing and changes nothing that is there, so it is safe to repeat.
    """
    settings = settings_of_command()
    address = settings.require_mysql()
    report = create_schema(address, settings.table)
    for created in report.created:
        click.echo(f"created {created}")
    if not report.created:
        click.echo(f"nothing to create: table {settings.table} is there at {address}")
    for warning in report.warnings:
        click.echo(f"idalloc: warning: {warning}", err=True)


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
        click.echo(json.dumps([_as_json(row) for row in rows]))
    else:
        _print_table(rows)


@tags.command()
@_app_tag
@_json_option
@config_option
def show(app_tag: str, *, as_json: bool) -> None:
    """Show one tag.

    Every id below max_id may have been handed out. The time is in the database's time zone.
    """
    with _admin() as admin:
        row = admin.show(app_tag)
    if as_json:
        click.echo(json.dumps(_as_json(row)))
    else:
        _print_table([row])


@tags.command(
    epilog="""\b
Example:
  idalloc tags add order --step 10000 --start 5000000
"""
)
@_app_tag
@click.option("--step", type=_STEP, required=True, help="Ids that a worker reserves at a time.")
@click.option("--start", type=_MARK, default=0, help="Where ids begin; 0 is never handed out.")
@config_option
def add(app_tag: str, step: int, start: int) -> None:
    """Add a tag.

    A larger step means fewer writes to the database, and larger gaps when a worker restarts: it
    may lose up to two steps of each tag.
    """
    with _admin() as admin:
        _print_table([admin.add(app_tag, step, start)])


@tags.command(
    "set",
    epilog="""\b
Example:
  idalloc tags set order --step 50000
""",
)
@_app_tag
@click.option("--step", type=_STEP, help="Ids that a worker reserves at a time.")
@click.option("--max-id", type=_MARK, help="Where the next segment begins.")
@click.option(
    "--allow-duplicates", is_flag=True, help="Lower max_id, so that ids are handed out twice."
)
@config_option
def set_tag(app_tag: str, step: int | None, max_id: int | None, *, allow_duplicates: bool) -> None:
    """Change a tag's step or max_id.

    A new step takes effect when a worker next reserves ids; no restart is needed. Raising max_id
    skips ids. Lowering it hands ids out twice and is refused unless you ask for that; stop the
    workers first, because each keeps its own mark and raises max_id above it again.
    """
    if step is None and max_id is None:
        raise click.UsageError("nothing to change: give --step or --max-id")
    with _admin() as admin:
        row = admin.set(app_tag, step=step, max_id=max_id, allow_duplicates=allow_duplicates)
    _print_table([row])


@tags.command()
@_app_tag
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def remove(app_tag: str, *, yes: bool) -> None:
    """Remove a tag.

    Workers refuse it once their segments are used up. If you add it again, its ids start over
    unless you say otherwise with --start.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is nobody to confirm this; give --yes")
    with _admin() as admin:
        row = admin.show(app_tag)
        question = f"Remove {app_tag}, of which every id below {row.max_id} may be in use?"
        if not yes and not click.confirm(question, err=True):
            raise click.ClickException("nothing was removed")
        row = admin.remove(app_tag)
    click.echo(f"removed {app_tag}; to go on later: --start {row.max_id}")


@contextmanager
def _admin() -> Iterator[TagAdmin]:
    settings = settings_of_command()
    with AdminSession(settings.require_mysql()) as session:
        yield TagAdmin(session, settings.table)


def _as_json(row: TagRow) -> dict[str, object]:
    return {
        "app_tag": row.app_tag,
        "max_id": row.max_id,
        "step": row.step,
        "update_time": row.update_time.isoformat() if row.update_time else None,
    }


def _print_table(rows: Sequence[TagRow]) -> None:
    lines = [("TAG", "MAX_ID", "STEP", "UPDATED")]
    lines += [
        (row.app_tag, str(row.max_id), str(row.step), str(row.update_time or "-")) for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for tag, mark, step, updated in lines:
        click.echo(
            f"{tag:<{widths[0]}}  {mark:>{widths[1]}}  {step:>{widths[2]}}  {updated}".rstrip()
        )
