"""One stack for all processes of a test run, started for the first one that asks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Client, Listener
from threading import Thread

from devstack.servers._errors import DevStackError
from devstack.servers._stack import Stack, running_stack

_BACKLOG = 64  # processes that ask while the servers start


@contextmanager
def stack_on_demand() -> Iterator[str]:
    """Give an address at which `shared_stack` gets a stack; end what was started at the end.

    The socket lies in a folder that nobody else may enter.
    """
    with ExitStack() as running, Listener(family="AF_UNIX", backlog=_BACKLOG) as listener:
        address = str(listener.address)
        thread = Thread(
            target=_answer_all, args=(listener, running), name="devstack-shared", daemon=True
        )
        thread.start()
        try:
            yield address
        finally:
            _ask(address, wanted=False)
            thread.join()


def shared_stack(address: str) -> Stack:
    """Return the stack, once it runs.

    Raises DevStackError, to everybody who asks, if it could not be started.
    """
    answer = _ask(address, wanted=True)
    if isinstance(answer, Stack):
        return answer
    raise DevStackError(str(answer))


def _ask(address: str, *, wanted: bool) -> object:
    with Client(address) as connection:
        connection.send(wanted)
        return connection.recv() if wanted else None


def _answer_all(listener: Listener, running: ExitStack) -> None:
    answer: Stack | str | None = None
    while True:
        with suppress(EOFError, OSError), listener.accept() as asked:  # it may have died meanwhile
            if not asked.recv():
                return
            answer = answer or _start(running)
            asked.send(answer)


def _start(running: ExitStack) -> Stack | str:
    try:
        return running.enter_context(running_stack())
    except Exception as error:  # noqa: BLE001 - told to everybody who waits, whatever it is
        return str(error) or repr(error)
