"""The `idalloc` command: its group, and how errors become messages and exit codes."""

import contextlib
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click

import idalloc_client
from idalloc_worker._errors import IdAllocWorkerError
from idalloc_worker.cli._options import config_option
from idalloc_worker.settings import SettingsError, redacted

OK: Final = 0
FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130  # as a shell reports SIGINT

# Every command of the product, in the order of --help, and where it is.
_COMMANDS: Final[Mapping[str, str]] = {
    "init": "_tags.init",
    "migrate": "_tags.migrate",
    "broker-setup": "_broker.broker_setup",
    "worker": "_worker.worker",
    "dev": "_dev.dev",
    "next": "_client.next_ids",
    "health": "_client.health",
    "top": "_top.top",
    "dashboard": "_dashboard.dashboard",
    "tags": "_tags.tags",
    "check": "_check.check",
    "audit": "_audit.audit",
}


class _Commands(click.Group):
    """Imports a command when it is asked for: all of them take three times as long as `next`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(".")
        command: click.Command = getattr(import_module(f"idalloc_worker.cli.{module}"), name)
        if not gc.isenabled():  # as `main` leaves it, for the imports
            gc.freeze()
            gc.enable()
        return command


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
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@config_option
@click.version_option(package_name="idalloc", message="%(prog)s %(version)s")
def cli() -> None:
    """Hand out unique 64-bit ids over RabbitMQ, reserved from MySQL."""


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
    except (
        click.ClickException,
        IdAllocWorkerError,
        idalloc_client.IdAllocError,  # looked up only now: it loads the clients
        OSError,
    ) as error:
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
        group = command if isinstance(command, click.Group) else None
        command = group and group.get_command(click.Context(group), word)
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
