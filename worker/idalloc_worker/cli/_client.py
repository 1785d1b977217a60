"""The commands `idalloc next` and `idalloc health`, which ask a worker as any caller does."""

import json
from typing import TYPE_CHECKING

import click

from idalloc_client import IdClient, PeriodError
from idalloc_client.amqp import MAX_TIMEOUT
from idalloc_worker.cli._clients import client_of_command
from idalloc_worker.cli._options import app_tag_name, config_option
from idalloc_worker.cli._text_table import duration

if TYPE_CHECKING:  # it loads pydantic, which `next` does without
    from idalloc_schemas import HealthReply, TagHealth

_timeout = click.option(
    "--timeout",
    type=click.FloatRange(0, MAX_TIMEOUT, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answer.",
)
_FLEET_SECONDS = 1.0
_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


@click.command(
    "next",
    epilog="""\b
Examples:
  idalloc next order
  idalloc next order -n 1000 --json
""",
)
@click.argument("app_tag", metavar="TAG", type=app_tag_name)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="COUNT",
    help="How many ids.",
)
@_timeout
@_json_option
@config_option
def next_ids(app_tag: str, count: int, timeout: float, *, as_json: bool) -> None:
    """Get ids of a tag and print them, one per line; behind their period, if the tag has such."""
    with client_of_command(IdClient)() as client:
        try:
            ids = client.next_ids(app_tag, count, timeout=timeout)
        except PeriodError as error:  # only the draw tells
            ids = error.ids
    period = {} if ids.period is None else {"period": str(ids.period)}
    if as_json:
        click.echo(json.dumps({"app_tag": app_tag, "id": ids[0], "ranges": ids.ranges} | period))
        return
    for value in ids:
        click.echo(" ".join([*period.values(), str(value)]))


@click.command(
    epilog="""\b
Examples:
  idalloc health
  idalloc health order --json
  idalloc health --fleet

\b
Exit code 1 also means that the tag, or one of the worker's tags, has no ids and cannot get any; or
that the worker holds no ids and cannot use its database.
"""
)
@click.argument("app_tag", metavar="[TAG]", type=app_tag_name, required=False)
@click.option("--fleet", is_flag=True, help="Ask every worker; collects answers for a second.")
@_timeout
@_json_option
@config_option
def health(app_tag: str | None, timeout: float, *, fleet: bool, as_json: bool) -> None:
    """Show what one worker holds of a tag or of all its tags; with --fleet, what each holds."""
    with client_of_command(IdClient)() as client:
        if fleet:
            replies = client.fleet_health(app_tag, within=min(timeout, _FLEET_SECONDS))
        else:
            replies = [client.health(app_tag, timeout=timeout)]
    for reply in replies:
        if as_json:  # one line for each worker
            click.echo(reply.encode())
        else:
            _print_health(reply)
    if not all(map(_healthy, replies)):
        click.get_current_context().exit(1)


def _healthy(reply: "HealthReply") -> bool:
    without_ids = reply.database is False and reply.left == 0
    return all(tag.healthy for tag in reply.tags) and not without_ids


def _print_health(reply: "HealthReply") -> None:
    click.echo(f"worker  {reply.worker}")
    click.echo(f"left    {reply.left}")
    if reply.protected is False:
        click.echo("        not protected against a database that is rolled back: see its log")
    elif reply.marks == "workers":
        click.echo("        the broker does not remember what was reserved: see its log")
    if reply.database is False:
        click.echo("        the database could not be used when it was last needed")
    for tag in reply.tags:
        click.echo(_line(tag))
    if reply.tags_total > len(reply.tags):
        click.echo(f"and {reply.tags_total - len(reply.tags)} more tags")


def _line(tag: "TagHealth") -> str:
    words = [f"{tag.app_tag:<32}", f"{tag.state:<10}", f"left {tag.left}", f"step {tag.step}"]
    if tag.cover is not None:
        words.append(f"rate {tag.rate:.1f}/s  cover {duration(tag.cover)}")
    if tag.waiters:
        words.append(f"waiters {tag.waiters}")
    if tag.last_error:
        words.append(f"last error: {tag.last_error}")
    return "  ".join(words)
