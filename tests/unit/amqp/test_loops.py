"""Our loop does what pika's does, which is used where there is no epoll, and never spins."""

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pika.adapters.select_connection import IOLoop

from idalloc_client.amqp._io._epoll_loop import EpollLoop, new_loop


@pytest.fixture(params=[EpollLoop, IOLoop])
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give a loop that ends by itself, should a test have it run for ever."""
    if request.param is EpollLoop and not hasattr(select, "epoll"):
        pytest.skip("this system has no epoll")
    with contextlib.closing(request.param()) as loop:
        loop.call_later(20, loop.stop)
        yield loop


Pairs = Callable[[int], list[tuple[socket.socket, socket.socket]]]


@pytest.fixture
def pairs_of() -> Iterator[Pairs]:
    """Make pairs of connected sockets."""
    with contextlib.ExitStack() as closing:

        def make(number: int) -> list[tuple[socket.socket, socket.socket]]:
            pairs = [socket.socketpair() for _ in range(number)]
            for each in (one for pair in pairs for one in pair):
                closing.callback(each.close)
            return pairs

        yield make


def test_where_there_is_no_epoll_it_is_pikas(monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems, and where gevent has taken it away."""
    monkeypatch.delattr(select, "epoll", raising=False)
    loop: Any = new_loop()
    assert isinstance(loop, IOLoop)
    loop.close()


def test_callbacks_come_in_order_and_those_that_they_add_in_the_next_turn(loop: Any) -> None:
    came: list[int] = []

    def first() -> None:
        came.append(1)
        loop.add_callback(lambda: came.append(3))

    loop.add_callback(first)
    loop.add_callback(lambda: came.append(2))
    loop.add_callback(lambda: loop.add_callback(loop.stop))
    began = time.monotonic()
    loop.start()
    assert came == [1, 2, 3]
    assert time.monotonic() - began < 15


def test_callbacks_leave_time_for_timers(loop: Any) -> None:
    """Also one that asks for itself again each time."""
    turns: list[int] = []

    def again() -> None:
        turns.append(1)
        assert len(turns) < 10**6
        loop.add_callback(again)

    loop.add_callback(again)
    loop.call_later(0.05, loop.stop)
    loop.start()


def test_timers_come_at_their_time(loop: Any) -> None:
    """Whatever the order in which they were asked for; equal ones in that order."""
    came: list[int] = []
    began = time.monotonic()
    for delay, number in ((0.06, 3), (0.03, 1), (0.03, 2), (0.0, 0)):
        loop.call_later(delay, lambda number=number: came.append(number))
    loop.call_later(0.07, loop.stop)
    loop.start()
    assert came == [0, 1, 2, 3]
    assert time.monotonic() - began >= 0.07


def test_a_timer_that_is_cancelled_does_not_come(loop: Any) -> None:
    """Nor if another one that is due in the same turn cancels it; once more does no harm."""
    came: list[int] = []
    timers: list[Any] = []
    loop.call_later(0.0, lambda: loop.remove_timeout(timers[0]))
    timers.append(loop.call_later(0.0, lambda: came.append(1)))
    third = loop.call_later(0.01, lambda: came.append(2))
    loop.remove_timeout(third)
    loop.remove_timeout(third)
    loop.call_later(0.02, loop.stop)
    loop.start()
    loop.remove_timeout(timers[0])
    assert came == []


def test_timers_that_are_cancelled_are_forgotten_long_before_their_time() -> None:
    """One for each request, say: they must not add up."""
    with contextlib.closing(EpollLoop()) as loop:
        kept = [loop.call_later(3600, loop.stop) for _ in range(10)]
        for _ in range(20_000):
            loop.remove_timeout(loop.call_later(3600, loop.stop))
        assert len(loop._timers) < 3000
        assert sum(each[2] in kept for each in loop._timers) == 10


def test_another_thread_wakes_it(loop: Any) -> None:
    """It need not wait for what comes next by itself; nor to stop it."""
    came: list[int] = []

    def others() -> None:
        time.sleep(0.2)  # by then the loop sleeps
        loop.add_callback(lambda: came.append(threading.get_ident()))
        while not came:
            time.sleep(0.001)
        loop.stop()

    thread = threading.Thread(target=others)
    began = time.monotonic()
    loop.call_later(0.0, thread.start)
    loop.start()
    thread.join()
    assert came == [threading.get_ident()]
    assert time.monotonic() - began < 15


def test_it_may_be_started_again(loop: Any) -> None:
    """What was asked for meanwhile comes then."""
    came: list[int] = []
    loop.add_callback(loop.stop)
    loop.start()
    loop.add_callback(lambda: came.append(1))
    loop.add_callback(loop.stop)
    loop.start()
    assert came == [1]


def test_what_is_watched_is_told(loop: Any, pairs_of: Pairs) -> None:
    """To read or to write, and no more once it is not asked for."""
    [(ours, theirs)] = pairs_of(1)
    told: list[int] = []

    def on_event(fd: int, events: int) -> None:
        assert fd == ours.fileno()
        told.append(events & (loop.READ | loop.WRITE))
        if events & loop.WRITE:
            loop.update_handler(fd, loop.READ)
            theirs.send(b"x")
        else:
            assert ours.recv(10) == b"x"
            loop.remove_handler(fd)
            theirs.send(b"y")
            loop.call_later(0.02, loop.stop)

    loop.add_handler(ours.fileno(), on_event, loop.READ | loop.WRITE)
    loop.start()
    assert told == [loop.WRITE, loop.READ]


@pytest.mark.parametrize("wanted", ["READ", "WRITE"])
def test_a_connection_that_is_refused_or_reset_is_told(loop: Any, wanted: str) -> None:
    """As what was asked for: whoever reads or writes learns the error."""
    events = getattr(loop, wanted)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    told: list[int] = []

    def on_event(fd: int, found: int) -> None:
        told.append(found)
        loop.remove_handler(fd)
        loop.stop()

    with ours:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        theirs.close()
        loop.add_handler(ours.fileno(), on_event, events)
        loop.start()
    [found] = told
    assert found & events


def test_no_handler_hears_of_a_descriptor_that_is_gone(loop: Any, pairs_of: Pairs) -> None:
    """Whichever of two comes first takes the other one away, and its number has a new owner."""
    *pairs, (quiet, _) = pairs_of(3)
    told: list[str] = []

    def on_event(mine: int) -> Callable[[int, int], None]:
        def first(fd: int, _events: int) -> None:
            told.append("first")
            other = pairs[1 - mine][0]
            number = other.fileno()
            loop.remove_handler(fd)
            loop.remove_handler(number)
            other.close()
            os.dup2(quiet.fileno(), number)
            loop.add_handler(number, lambda _fd, _events: told.append("new"), loop.READ)
            loop.call_later(0.02, lambda: loop.remove_handler(number))
            loop.call_later(0.03, lambda: os.close(number))
            loop.call_later(0.04, loop.stop)

        return first

    for number, (ours, theirs) in enumerate(pairs):
        theirs.send(b"x")
        loop.add_handler(ours.fileno(), on_event(number), loop.READ)
    loop.start()
    assert told == ["first"]


def test_an_event_that_changed_meanwhile_is_not_told(loop: Any, pairs_of: Pairs) -> None:
    """A handler that runs before turns from writing to reading."""
    pairs = pairs_of(2)
    told: list[int] = []

    def on_event(mine: int) -> Callable[[int, int], None]:
        def turn(fd: int, events: int) -> None:
            told.append(events & (loop.READ | loop.WRITE))
            loop.update_handler(fd, loop.READ)
            loop.update_handler(pairs[1 - mine][0].fileno(), loop.READ)

        return turn

    for number, (ours, _) in enumerate(pairs):
        loop.add_handler(ours.fileno(), on_event(number), loop.WRITE)
    loop.call_later(0.02, loop.stop)
    loop.start()
    assert told == [loop.WRITE]


def test_more_events_than_one_turn_takes(loop: Any, pairs_of: Pairs) -> None:
    """The others come in the turns that follow."""
    pairs = pairs_of(50)
    told: set[int] = set()

    def on_event(fd: int, _events: int) -> None:
        told.add(fd)
        loop.remove_handler(fd)
        if len(told) == len(pairs):
            loop.stop()

    for ours, theirs in pairs:
        theirs.send(b"x")
        loop.add_handler(ours.fileno(), on_event, loop.READ)
    loop.start()
    assert len(told) == len(pairs)


def test_what_a_callback_raises_ends_it(loop: Any) -> None:
    """It is for the guard above it to see that none does; it can be started again."""
    loop.add_callback(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.start()
    loop.add_callback(loop.stop)
    loop.start()


def test_after_its_end_nothing_comes_and_nobody_is_hurt(loop: Any) -> None:
    """A resolver's thread may be late, and another file have the number of its descriptor."""
    came: list[int] = []
    loop.close()
    files = [socket.socket() for _ in range(8)]
    loop.add_callback(lambda: came.append(1))
    for file in files:
        file.close()
    assert came == []


@pytest.mark.parametrize("new_loop", [EpollLoop, IOLoop])
def test_it_sleeps_when_nothing_is_due(new_loop: Callable[[], Any]) -> None:
    """However far away the next timer is."""
    with contextlib.closing(new_loop()) as loop:
        loop.call_later(10**7, lambda: None)
        stopper = threading.Timer(0.3, loop.stop)
        stopper.start()
        before = time.thread_time()
        loop.start()
        assert time.thread_time() - before < 0.1
        stopper.join()


def test_an_end_that_is_told_alone_counts_as_what_was_asked_for() -> None:
    """That of a pipe: told as neither readable nor writable, the loop would turn without end."""
    reader, writer = os.pipe()
    os.close(writer)
    told: list[int] = []
    with contextlib.closing(EpollLoop()) as ours:

        def on_event(fd: int, events: int) -> None:
            told.append(events)
            ours.remove_handler(fd)
            ours.stop()

        ours.add_handler(reader, on_event, ours.READ)
        ours.start()
    os.close(reader)
    assert told == [EpollLoop.READ]
