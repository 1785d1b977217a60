"""Clients and sequences that were in use before their process forked."""

import json
import subprocess
import sys

import pytest

from devstack.workers import PATIENCE, Fleet

# The program forks in C where it is told so: none of Python's hooks run. Before that it lets the
# client's thread wait in a read from a pipe, as a thread that asks for the interpreter's lock just
# then could leave the child without it.
PRELUDE = """
import asyncio, json, os, signal, sys, threading
from pathlib import Path
from idalloc_client import AsyncIdClient, IdClient, IdAllocError
from tests.forks import fork_in_c

url, kind = sys.argv[1:]
fork = os.fork if kind == "os.fork" else fork_in_c

def park(client):
    reader, writer = os.pipe()
    number = []
    def read():
        number.append(threading.get_native_id())
        os.read(reader, 1)
    client._session._running.thread.post(read)
    while not number or "pipe_read" not in Path(f"/proc/self/task/{number[0]}/wchan").read_text():
        pass
    return lambda: os.write(writer, b"go on")

def fork_and_report(work):
    reader, writer = os.pipe()
    if not (child := fork()):
        try:
            told = work()
        except BaseException as error:
            told = repr(error)
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = json.loads(pipe.read())
    assert os.waitpid(child, 0)[1] == 0
    return told
"""

THREADS = """
client = IdClient(url, timeout=100)
ids = client.sequence("test_business", floor=1000)
before = [client.next_id("test_business"), next(ids)]
go_on = park(client)

def draw():
    mine = [next(ids) for _ in range(3000)] + [client.next_id("test_business") for _ in range(5)]
    stats = client.stats()
    client.close()
    return [mine, stats.connects, stats.sequences.ids_leased]

child, connects, leased = fork_and_report(draw)
go_on()
after = [next(ids) for _ in range(3000)] + [client.next_id("test_business")]
print(json.dumps([before + after, child, connects, leased, client.stats().connections_lost]))
"""

TASKS = """
client = AsyncIdClient(url, timeout=100)
ids = client.sequence("test_business", floor=1000)

async def draw(count):
    mine = [await anext(ids) for _ in range(count)]
    return mine + [await client.next_id("test_business") for _ in range(5)]

def draw_in_child():
    mine = asyncio.run(draw(3000))
    stats = client.stats()
    return [mine, stats.connects, stats.sequences.ids_leased]

runner = asyncio.Runner()
before = runner.run(draw(1))
child, connects, leased = fork_and_report(draw_in_child)
after = runner.run(draw(3000))
print(json.dumps([before + after, child, connects, leased, client.stats().connections_lost]))
runner.run(client.close())
"""


def run(program: str, fleet: Fleet, kind: str) -> list[object]:
    """Run a program; return what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", PRELUDE + program, fleet.amqp_url, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    told: list[object] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("kind", ["os.fork", "C"])
@pytest.mark.parametrize("program", [THREADS, TASKS], ids=["threads", "tasks"])
def test_parent_and_child_both_go_on(fleet: Fleet, program: str, kind: str) -> None:
    """The child has a connection, leases and counters of its own; the parent keeps its own."""
    fleet.start()
    parent, child, connects, leased, lost = run(program, fleet, kind)
    assert isinstance(parent, list)
    assert isinstance(child, list), child
    assert isinstance(leased, int)
    assert len(set(parent) | set(child)) == len(parent) + len(child)
    assert (connects, lost) == (1, 0)
    assert leased >= 3000


IN_FLIGHT = """
client = IdClient(url, timeout=100)
client.next_id("test_business")
running = client._session._running
enter = running.enter

def fork_now(*_):
    if child := fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def enter_and_signal(*args):
    if moment == "waiting":
        park(client)
    enter(*args)
    if moment == "answered":
        while not args[2][0].done():
            pass
        park(client)
    signal.raise_signal(signal.SIGUSR1)

signal.signal(signal.SIGUSR1, fork_now)
running.enter = enter_and_signal
first = None
try:
    client.next_id("test_business", timeout=0.5 if moment == "waiting" else 100)
except IdAllocError as error:
    first = type(error).__name__
print(json.dumps([first, client.next_id("test_business", timeout=100) > 1]), flush=True)
os._exit(0)
"""

TASK_IN_FLIGHT = """
client = AsyncIdClient(url, timeout=100)

async def draw():
    await client.next_id("test_business")
    loop, waker = asyncio.get_running_loop(), client._session._waker
    create_future, wake = loop.create_future, waker._run

    def fork_now(_=None):
        if child := fork():
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    def fork_before_it_wakes():
        promise = create_future()
        promise.add_done_callback(fork_now)
        return promise

    if moment == "shortcut":
        waker._run = lambda: (fork_now(), wake())
    else:
        loop.create_future = fork_before_it_wakes
    try:
        await client.next_id("test_business", timeout=timeout)
    except IdAllocError as error:
        return type(error).__name__

timeout = None if moment == "shortcut" else 100
print(json.dumps([asyncio.run(draw())]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("kind", ["os.fork", "C"])
@pytest.mark.parametrize("moment", ["waiting", "answered"])
def test_a_call_that_was_in_flight_at_the_fork(fleet: Fleet, moment: str, kind: str) -> None:
    """A signal handler may fork during a call: the answer is the parent's; the child is told."""
    fleet.start()
    program = f"moment = {moment!r}\n{IN_FLIGHT}"
    assert run(program, fleet, kind) == ["ForkedClientError", True]


@pytest.mark.parametrize("moment", ["shortcut", "usual"])
def test_a_task_that_was_answered_at_the_fork(fleet: Fleet, moment: str) -> None:
    """So may a callback of the loop."""
    fleet.start()
    program = f"moment = {moment!r}\n{TASK_IN_FLIGHT}"
    assert run(program, fleet, "C") == ["ForkedClientError"]
