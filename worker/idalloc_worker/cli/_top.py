"""The command `idalloc top`, which shows the fleet as it works."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import click

from idalloc_client import AsyncIdClient, IdAllocError
from idalloc_client.amqp import MAX_TIMEOUT
from idalloc_schemas import HealthReply
from idalloc_worker.cli._options import broker_of, config_option, settings_of_command
from idalloc_worker.cli._top_screen import Screen
from idalloc_worker.cli._top_table import Poll, compare
from idalloc_worker.cli._top_text import Line, picture, write

_COLLECT_FOR = 1.0  # seconds that workers have to answer, if the interval is not shorter
_PATIENCE = 5.0  # seconds to find a worker at all, where there is nobody who could wait for one
_QUIT = b"qQ\x03\x04"  # with Ctrl-C and Ctrl-D, from a terminal that makes no signals of them


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
    help="How long to measure before it is shown anew.",
)
@click.option("--once", is_flag=True, help="Write one picture, as plain text.")
@config_option
def top(interval: float, *, once: bool) -> None:
    """Show what the fleet does: each tag over all workers, and each worker.

    Where input or output is no terminal, one picture is written after one interval.
    """
    settings = settings_of_command()
    client = partial(AsyncIdClient, broker_of(settings), exchange=settings.request_exchange)
    for name in ("idalloc", "pika"):  # what they warn of is shown
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo("\n".join(line.text for line in asyncio.run(_once(client, interval))))
    else:
        screen = Screen(sys.stdin.fileno(), sys.stdout.fileno())
        with screen.taken():
            asyncio.run(_live(client, interval, screen))


async def _once(new_client: Callable[[], AsyncIdClient], interval: float) -> list[Line]:
    async with new_client() as client:
        await client.health(timeout=_PATIENCE)
        before = await _poll(client, interval, _nothing_yet())
        return write(compare(before, await _poll(client, interval, before)))


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
    before = _nothing_yet()
    while True:
        try:
            after, problem = await _poll(client, interval, before), ""
        except IdAllocError as error:
            # Nobody answers. What is known of the workers grows old, and they are shown as gone.
            after = before.then(time.monotonic(), ())
            problem = f"no answer, trying on: {error}"
        screen.draw(picture(compare(before, after), *screen.size(), problem))
        before = after


async def _poll(client: AsyncIdClient, interval: float, before: Poll) -> Poll:
    """Ask the fleet, and return once the interval is over."""
    at = time.monotonic()
    replies: list[HealthReply] = []
    try:
        replies = await client.fleet_health(within=min(interval, _COLLECT_FOR))
    finally:
        await asyncio.sleep(max(at + interval - time.monotonic(), 0))
    return before.then(at, replies)


def _nothing_yet() -> Poll:
    return Poll(time.monotonic(), {})
