"""A worker process under a supervisor: `python -m idalloc_worker.process._child`.

It reads its settings from standard input, so that no password stands in its command line, and
takes the end of that input as the order to stop: also when the supervisor was killed. What comes
before that are settings that were read again. Its arguments are its number in the group, the
descriptor of the page of vitals and, if there is one, that of the socket on which it is asked for
snapshots.
"""

import pickle
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from idalloc_worker._vitals import Vitals
from idalloc_worker.metrics import AskForSnapshot, Responder
from idalloc_worker.process._logging import configure_logging
from idalloc_worker.process._notifier import Notifier
from idalloc_worker.process._process import run_worker
from idalloc_worker.process._pulse import Place
from idalloc_worker.process._reload import take_over
from idalloc_worker.process._signals import (
    StopOrder,
    on_stop_signals,
    show_stacks_on_sigquit,
    unblock_stop_signals,
)
from idalloc_worker.settings import Settings


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    stop = StopOrder()
    # Ctrl-C and a hangup reach the whole group; the supervisor is the one to act on them.
    on_stop_signals(stop.give, of_terminal=False)
    show_stacks_on_sigquit()
    unblock_stop_signals()
    settings = next_settings()
    configure_logging(settings.log_level, settings.log_format)

    def watch() -> None:
        with suppress(EOFError):
            while True:
                stop.post(partial(take_over, next_settings()))
        stop.give()

    threading.Thread(target=watch, name="idalloc-supervisor-watch", daemon=True).start()
    number, page, *descriptor = sys.argv[1:]
    vitals = Vitals(int(page))
    place = Place(int(number), vitals, Notifier.silent(vitals))
    return run_worker(settings, stop.wait, place, answer_on(*descriptor))


def next_settings() -> Settings:
    """Read what the supervisor writes. Raises EOFError at the end."""
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by our own parent
    if not isinstance(settings, Settings):
        raise TypeError("standard input must hold the settings of a supervisor")
    return settings


def answer_on(descriptor: str = "") -> Callable[[AskForSnapshot], None] | None:
    """Answer on the socket of this descriptor, if one is given."""
    if not descriptor:
        return None
    sock = socket.socket(fileno=int(descriptor))
    return lambda ask: Responder(sock, ask).start()


if __name__ == "__main__":
    sys.exit(main())
