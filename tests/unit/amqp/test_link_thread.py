"""The thread of a link: what is posted to it is run, whatever happens to whoever posts."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from idalloc_client.amqp import _link_thread
from idalloc_client.amqp._io._waker import Waker
from idalloc_client.amqp._link_thread import LinkThread


@pytest.fixture
def thread() -> Iterator[LinkThread]:
    nobody: Any = None  # is told of a connection: there is none
    parameters = pika.ConnectionParameters("127.0.0.1", 1)
    thread = LinkThread([parameters], nobody, "test-link")
    thread.start()
    yield thread
    assert thread.stop(30)


def run_on(thread: LinkThread) -> bool:
    done = threading.Event()
    thread.post(done.set)
    return done.wait(30)


def test_an_interrupted_post_leaves_the_thread_reachable(
    thread: LinkThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C just before the wake-up: the next post has both run."""
    wake, interrupts = Waker.wake, iter([KeyboardInterrupt])

    def interrupted(waker: Waker) -> None:
        for interrupt in interrupts:
            raise interrupt
        wake(waker)

    assert run_on(thread)
    monkeypatch.setattr(Waker, "wake", interrupted)
    ran = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        thread.post(ran.set)
    assert run_on(thread)
    assert ran.is_set()


def test_a_post_while_the_thread_ends_is_dropped(
    thread: LinkThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waker may go between two looks at it."""
    assert run_on(thread)
    waker, looks = thread._waker, iter([thread._waker])
    with monkeypatch.context() as patch:
        vanishing = property(lambda _: next(looks, None))
        patch.setattr(LinkThread, "_waker", vanishing, raising=False)
        thread.post(lambda: None)
    assert thread._waker is waker


def test_descriptors_are_taken_by_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making one costs none; and a start for which there is none may be tried again."""

    def no_more(*_: object) -> None:
        raise OSError(24, "Too many open files")

    nobody: Any = None
    with monkeypatch.context() as patch:
        patch.setattr(_link_thread, "new_loop", no_more)
        patch.setattr(socket, "socketpair", no_more)
        thread = LinkThread([pika.ConnectionParameters("127.0.0.1", 1)], nobody, "test-link")
        thread.post(lambda: None)
        with pytest.raises(OSError, match="Too many open files"):
            thread.start()
    thread.start()
    assert run_on(thread)
    assert thread.stop(30)
