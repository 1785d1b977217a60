"""A worker process under a supervisor: `python -m idalloc_worker.process._child`.

It reads its settings from standard input, so that no password stands in its command line, and
takes the end of that input as the order to stop: also when the supervisor was killed. Its arguments
are its number in the group and, if there is one, the descriptor of the socket on which it is asked
for snapshots.
"""

import pickle
import socket
import sys
import threading
from collections.abc import Callable

from idalloc_worker.metrics import AskForSnapshot, Responder
from idalloc_worker.process._logging import configure_logging
from idalloc_worker.process._process import run_worker
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
    settings = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by our own parent
    if not isinstance(settings, Settings):
        raise TypeError("standard input must hold the settings of a supervisor")
    configure_logging(settings.log_level, settings.log_format)

    def watch() -> None:
        sys.stdin.buffer.read()
        stop.give()

    threading.Thread(target=watch, name="idalloc-supervisor-watch", daemon=True).start()
    number, *descriptor = sys.argv[1:]
    return run_worker(settings, stop.wait, answer_on(*descriptor), int(number))


def answer_on(descriptor: str = "") -> Callable[[AskForSnapshot], None] | None:
    """Answer on the socket of this descriptor, if one is given."""
    if not descriptor:
        return None
    sock = socket.socket(fileno=int(descriptor))
    return lambda ask: Responder(sock, ask).start()


if __name__ == "__main__":
    sys.exit(main())
