"""Our own streams are used with a pika that they work with, and pika's own with any other."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from pika.adapters.select_connection import IOLoop

from idalloc_client.amqp._io import _compatibility
from idalloc_client.amqp._io._asyncio_loop import AsyncioSelectorLoop
from idalloc_client.amqp._io._batched_io import BatchedIO
from idalloc_client.amqp._io._batched_stream import TcpStream
from idalloc_client.amqp._io._compatibility import IncompatiblePikaError, check_compatibility
from idalloc_client.amqp._io._link_io import Compatibility, LinkIO
from idalloc_client.amqp._io._pika_io import PikaIO
from idalloc_client.amqp._link_thread import _LateLoop


def new_io(compatibility: Compatibility) -> LinkIO:
    loop: Any = IOLoop
    return compatibility.new_io(loop, lambda: None, lambda _io, _error: None)


def test_our_streams_work_with_this_pika(caplog: pytest.LogCaptureFixture) -> None:
    """The check passes with the pika that is installed."""
    assert isinstance(new_io(Compatibility()), BatchedIO)
    assert caplog.text == ""


def test_resets_behind_data_are_looked_for_where_the_loop_tells_once() -> None:
    """That of uvloop does; the loop that workers run on tells until somebody has noticed."""
    compatibility = Compatibility()

    def tells_once(loop: Any) -> bool:
        io: Any = compatibility.new_io(loop, lambda: None, lambda _io, _error: None)
        return bool(io.tells_once)

    with asyncio.Runner() as runner:
        assert tells_once(AsyncioSelectorLoop(runner.get_loop()))
    with contextlib.closing(_LateLoop()) as loop:
        assert not tells_once(loop)


@pytest.mark.parametrize(
    "change",
    [
        ("create_streaming_connection", lambda *_: None, IncompatiblePikaError),
        ("add_callback_threadsafe", None, TypeError),
        ("set_reader", lambda *_: None, IncompatiblePikaError),
    ],
)
def test_a_pika_that_they_do_not_work_with(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: tuple[Any, ...]
) -> None:
    """The check notices, a warning names pika's version, and pika's own I/O is used."""
    name, replacement, error = change
    monkeypatch.setattr(_compatibility, "_LIMIT", 0.05)
    monkeypatch.setattr(BatchedIO, name, replacement)
    with pytest.raises(error):
        check_compatibility()
    compatibility = Compatibility()
    assert isinstance(new_io(compatibility), PikaIO)
    assert isinstance(new_io(compatibility), PikaIO)
    [warning] = caplog.records
    assert "which costs more CPU time" in warning.message


def test_a_pika_with_which_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is a changed pika, and no failure of the system, though the peer's time runs out."""
    monkeypatch.setattr(_compatibility, "_LIMIT", 0.05)
    monkeypatch.setattr(TcpStream, "_send", lambda *_: None)
    assert isinstance(new_io(Compatibility()), PikaIO)


def test_a_lack_of_descriptors_tells_nothing_about_pika(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is put off to the next connection."""

    def no_more(*_: object) -> None:
        raise OSError(24, "Too many open files")

    compatibility = Compatibility()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socketpair", no_more)
        assert isinstance(new_io(compatibility), BatchedIO)
    assert isinstance(new_io(compatibility), BatchedIO)


def test_a_failure_that_looks_like_a_changed_pika(caplog: pytest.LogCaptureFixture) -> None:
    """What only shows in a real connection makes the next one pika's own; other failures do not."""
    compatibility = Compatibility()
    io = new_io(compatibility)
    compatibility.doubt(io, OSError(24, "Too many open files"))
    assert isinstance(new_io(compatibility), BatchedIO)
    compatibility.doubt(io, AttributeError("'TcpStream' object has no attribute 'is_closing'"))
    compatibility.doubt(io, AttributeError("once more"))
    assert isinstance(new_io(compatibility), PikaIO)
    [warning] = caplog.records
    assert "is_closing" in warning.message
