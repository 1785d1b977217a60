"""The `idalloc` command: its group, and how errors become messages and exit codes."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from idalloc_client import IdAllocError
from idalloc_worker._errors import IdAllocWorkerError
from idalloc_worker.cli._audit import audit
from idalloc_worker.cli._broker import broker_setup
from idalloc_worker.cli._check import check
from idalloc_worker.cli._client import health, next_ids
from idalloc_worker.cli._dashboard import dashboard
from idalloc_worker.cli._dev import dev
from idalloc_worker.cli._options import config_option
from idalloc_worker.cli._tags import init, migrate, tags
from idalloc_worker.cli._top import top
from idalloc_worker.cli._worker import worker
from idalloc_worker.settings import SettingsError, redacted

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130  # as a shell reports SIGINT

# Every command of the product, in the order of --help.
_COMMANDS: Final[Sequence[click.Command]] = (
    init,
    migrate,
    broker_setup,
    worker,
    dev,
    next_ids,
    health,
    top,
    dashboard,
    tags,
    check,
    audit,
)


class _InOrder(click.Group):
    """Lists its commands as they were added, not by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


_EPILOG = """\b
Settings come from the environment or from --config FILE. The most important:
  IDALLOC_AMQP_URL    amqp://user:password@host:port/vhost
  IDALLOC_MYSQL_URL   mysql://user:password@host:port[,host:port]/database
  IDALLOC_TABLE       segments
  IDALLOC_AMQP_URL_FILE, IDALLOC_MYSQL_URL_FILE: files with them, read at each connect

\b
Examples:
  idalloc init
  idalloc worker --processes 2
  idalloc next test_business
  idalloc tags add order --step 10000

\b
Exit codes:
  0 done, 1 it failed, 2 wrong usage or configuration, 130 interrupted
"""


@click.group(
    cls=_InOrder,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@config_option
@click.version_option(package_name="idalloc", message="%(prog)s %(version)s")
def cli() -> None:
    """Hand out unique 64-bit ids over RabbitMQ, reserved from MySQL."""


for _command in _COMMANDS:
    cli.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Errors go to the standard error."""
    try:
        code = cli.main(
            None if arguments is None else list(arguments),
            prog_name="idalloc",
            standalone_mode=False,
        )
    except (click.exceptions.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (click.ClickException, IdAllocWorkerError, IdAllocError, OSError) as error:
        _report(error, sys.argv[1:] if arguments is None else arguments)
        if isinstance(error, OSError):
            _forget_output()
        if isinstance(error, click.ClickException):
            return error.exit_code
        return MISUSED if isinstance(error, SettingsError) else FAILED
    return code if isinstance(code, int) else OK


def _report(error: Exception, arguments: Sequence[str]) -> None:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    elif isinstance(error, SettingsError):
        for problem in error.problems:
            _complain(problem)
    elif isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else _path(arguments)
        _complain(f"{error.format_message()} (see {path} --help)")
    elif isinstance(error, click.ClickException):
        _complain(error.format_message())
    else:
        _complain(str(error))


def _path(arguments: Sequence[str]) -> str:
    """Name the command of a line that click gave up before it said whose it is."""
    command: click.Command | None = cli
    path = "idalloc"
    for word in arguments:
        command = command.commands.get(word) if isinstance(command, click.Group) else None
        if command is None:
            break
        path += f" {word}"
    return path


def _forget_output() -> None:
    """Drop what could not be written: Python would try again at exit, and end with status 120."""
    with contextlib.suppress(OSError, ValueError):  # no such descriptor, where there is no stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    """Write one line."""
    click.echo(f"idalloc: {' '.join(redacted(message).split())}", err=True)
