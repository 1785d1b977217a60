"""Our own streams are used with a pika that they fit, and pika's own with any other."""

import socket
from typing import Any

import pytest
from pika.adapters.select_connection import IOLoop

from idalloc_client.amqp import _compatibility as _rehearsal
from idalloc_client.amqp._compatibility import RehearsalError, rehearse
from idalloc_client.amqp._io._batched_io import JoinedIO
from idalloc_client.amqp._io._batched_stream import PlainStream
from idalloc_client.amqp._io._pika_io import PlainPika
from idalloc_client.amqp._link_io import LinkIO, PikaFit


def new_io(fit: PikaFit) -> LinkIO:
    loop: Any = IOLoop
    return fit.new_io(loop, lambda: None, lambda _io, _error: None)


def test_our_streams_fit_this_pika(caplog: pytest.LogCaptureFixture) -> None:
    """The rehearsal passes with the pika that is installed."""
    assert isinstance(new_io(PikaFit()), JoinedIO)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "misfit",
    [
        ("create_streaming_connection", lambda *_: None, RehearsalError),
        ("add_callback_threadsafe", None, TypeError),
        ("set_reader", lambda *_: None, RehearsalError),
    ],
)
def test_a_pika_that_they_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, misfit: tuple[Any, ...]
) -> None:
    """The rehearsal notices, a warning names pika's version, and pika's own I/O is used."""
    name, replacement, error = misfit
    monkeypatch.setattr(_rehearsal, "_LIMIT", 0.05)
    monkeypatch.setattr(JoinedIO, name, replacement)
    with pytest.raises(error):
        rehearse()
    fit = PikaFit()
    assert isinstance(new_io(fit), PlainPika)
    assert isinstance(new_io(fit), PlainPika)
    [warning] = caplog.records
    assert "which costs more CPU time" in warning.message


def test_a_pika_with_which_nothing_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is a misfit, and no failure of the system, though the peer's time runs out."""
    monkeypatch.setattr(_rehearsal, "_LIMIT", 0.05)
    monkeypatch.setattr(PlainStream, "_send", lambda *_: None)
    assert isinstance(new_io(PikaFit()), PlainPika)


def test_a_lack_of_descriptors_tells_nothing_about_pika(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rehearsal is put off to the next connection."""

    def no_more(*_: object) -> None:
        raise OSError(24, "Too many open files")

    fit = PikaFit()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socketpair", no_more)
        assert isinstance(new_io(fit), JoinedIO)
    assert isinstance(new_io(fit), JoinedIO)


def test_a_failure_that_looks_like_a_misfit(caplog: pytest.LogCaptureFixture) -> None:
    """What only shows in a real connection makes the next one pika's own; other failures do not."""
    fit = PikaFit()
    io = new_io(fit)
    fit.doubt(io, OSError(24, "Too many open files"))
    assert isinstance(new_io(fit), JoinedIO)
    fit.doubt(io, AttributeError("'PlainStream' object has no attribute 'is_closing'"))
    fit.doubt(io, AttributeError("once more"))
    assert isinstance(new_io(fit), PlainPika)
    [warning] = caplog.records
    assert "is_closing" in warning.message
