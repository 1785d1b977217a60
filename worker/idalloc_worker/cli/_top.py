"""The command `idalloc top`, which shows the fleet as it works."""

import asyncio
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import click

from idalloc_client import AsyncIdClient
from idalloc_client.amqp import MAX_TIMEOUT
from idalloc_worker.cli._clients import client_of_command
from idalloc_worker.cli._options import config_option
from idalloc_worker.cli._top_text import Line, picture, write
from idalloc_worker.survey import look_once, watch

_QUIT = b"qQ\x03\x04"  # with Ctrl-C and Ctrl-D, from a terminal that makes no signals of them

# The control sequences of ECMA-48, and of xterm for its second screen.
_ENTER = "\x1b[?1049h\x1b[?25l"  # the second screen, with no cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _END_LINE, _END_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


class Screen:
    """A terminal that is drawn anew again and again, and read key by key.

    Writes to one descriptor and reads from another; both are terminals.
    """

    def __init__(self, keys: int, output: int) -> None:
        self.keys = keys
        self._output = output
        self._coloured = not os.environ.get("NO_COLOR")  # no-color.org

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the terminal, and leave it as it was."""
        before = termios.tcgetattr(self.keys)
        tty.setcbreak(self.keys)
        try:
            self._write(_ENTER)
            yield
        finally:
            with suppress(OSError, termios.error):  # it was closed
                termios.tcsetattr(self.keys, termios.TCSADRAIN, before)
                self._write(_LEAVE)

    def size(self) -> os.terminal_size:
        """Tell how many columns and rows there are now."""
        try:
            size = os.get_terminal_size(self._output)
        except OSError:
            size = os.terminal_size((0, 0))
        return size if size.columns and size.lines else shutil.get_terminal_size()

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines and nothing else."""
        # Erased first: behind a line that is full the cursor still stands on its last character.
        shown = "\r\n".join(f"{_END_LINE}{self._dressed(line)}" for line in lines)
        self._write(f"{_HOME}{shown}{_END_SCREEN}")

    def read_keys(self) -> bytes:
        """Take what was typed; empty if the terminal is gone."""
        try:
            return os.read(self.keys, 1024)
        except OSError:
            return b""

    def _dressed(self, line: Line) -> str:
        return f"{_RED}{line.text}{_PLAIN}" if line.alarm and self._coloured else line.text

    def _write(self, text: str) -> None:
        rest = text.encode(errors="replace")
        while rest:
            rest = rest[os.write(self._output, rest) :]


@click.command(
    epilog="""\b
Examples:
  idalloc top
  idalloc top --once --interval 5 > fleet.txt

\b
Keys: q quits.
"""
)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, MAX_TIMEOUT),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to measure between two updates.",
)
@click.option("--once", is_flag=True, help="Write the tables once, as plain text.")
@config_option
def top(interval: float, *, once: bool) -> None:
    """Show what the fleet does: each tag over all workers, and each worker.

    If input or output is no terminal, it writes the tables once, after one interval.
    """
    client = client_of_command(AsyncIdClient)
    if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo("\n".join(line.text for line in asyncio.run(_once(client, interval))))
    else:
        screen = Screen(sys.stdin.fileno(), sys.stdout.fileno())
        with screen.taken():
            asyncio.run(_live(client, interval, screen))


async def _once(new_client: Callable[[], AsyncIdClient], interval: float) -> list[Line]:
    async with new_client() as client:
        return write(await look_once(client, interval))


async def _live(new_client: Callable[[], AsyncIdClient], interval: float, screen: Screen) -> None:
    """Draw until a key or a signal ends it."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def on_keys() -> None:
        keys = screen.read_keys()
        if not keys or any(key in _QUIT for key in keys):
            loop.remove_reader(screen.keys)
            ended.set()

    loop.add_reader(screen.keys, on_keys)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    async with new_client() as client:
        drawing = asyncio.create_task(_draw(client, interval, screen))
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait((drawing, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if drawing.done():
            drawing.result()  # it never ends but by an error
        drawing.cancel()


async def _draw(client: AsyncIdClient, interval: float, screen: Screen) -> None:
    screen.draw([Line("idalloc  asking the workers")])
    async for view in watch(client, interval):
        problem = "" if view.problem is None else f"no answer, trying on: {view.problem}"
        screen.draw(picture(view.table, *screen.size(), problem))
