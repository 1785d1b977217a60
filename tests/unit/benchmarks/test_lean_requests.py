"""A sender that is not what is slow: what it sends, and which answers it counts."""

import socket
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from benchmarks.harness.runner import BenchmarkError
from benchmarks.peers.lean_requests import ANSWER, REQUEST, LeanRequests
from devstack.attacks.wire import RawConnection

Serve = Callable[[socket.socket], None]
_ASKED = REQUEST % b"t"
_ANSWER = b"header" + ANSWER + b',"msg":"success"}\xce'


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Serve], LeanRequests]]:
    """Make a sender whose other end is served by a thread, in the broker's place."""
    ours, theirs = socket.socketpair()
    threads: list[Thread] = []

    def connected(self: Any, _amqp_url: str) -> None:
        self._socket = ours

    def make(serve: Serve) -> LeanRequests:
        threads.append(Thread(target=serve, args=(theirs,)))
        threads[0].start()
        return LeanRequests("amqp://unused", "queue", "t")

    monkeypatch.setattr(RawConnection, "__init__", connected)
    monkeypatch.setattr(LeanRequests, "no_delay", lambda _self: None)
    yield make
    ours.close()
    for thread in threads:
        thread.join()
    theirs.close()


def answering(answers: bytes, *, pieces: int = 1) -> Serve:
    """Answer each request, in so many pieces."""

    def serve(end: socket.socket) -> None:
        kept = b""
        while read := end.recv(65_536):
            kept += read
            for _ in range(kept.count(_ASKED)):
                size = -(-len(answers) // pieces)
                for start in range(0, len(answers), size):
                    end.sendall(answers[start : start + size])
            kept = kept[kept.rfind(_ASKED) + len(_ASKED) :] if _ASKED in kept else kept

    return serve


@pytest.mark.parametrize("pieces", [1, 2, 3, len(_ANSWER)])
def test_an_answer_counts_once_however_it_comes(
    asking: Callable[[Serve], LeanRequests], pieces: int
) -> None:
    times = asking(answering(_ANSWER, pieces=pieces)).paced(200.0, 0.1)
    assert len(times.due) == len(times.sent) == len(times.answered) == 20


def test_a_request_counts_from_when_it_was_due(
    asking: Callable[[Serve], LeanRequests],
) -> None:
    """Requests that had to wait for the sender waited, whenever they left."""
    times = asking(answering(_ANSWER)).paced(200.0, 0.1)
    gaps = [later - earlier for earlier, later in zip(times.due, times.due[1:], strict=False)]
    assert gaps == pytest.approx([1 / 200.0] * 19)
    assert all(
        due <= sent <= answered
        for due, sent, answered in zip(times.due, times.sent, times.answered, strict=True)
    )
    assert times.taken == [end - due for due, end in zip(times.due, times.answered, strict=True)]


def test_no_request_is_left_open(asking: Callable[[Serve], LeanRequests]) -> None:
    requests = asking(answering(_ANSWER))
    assert requests.rate(7, 0.01) > 0
    assert len(requests.round_trips(0.01).taken) > 0


def test_a_refusal_is_no_answer(asking: Callable[[Serve], LeanRequests]) -> None:
    refusal = b'{"resp_code":-3,"msg":"app_tag not found"}'
    with pytest.raises(BenchmarkError, match="app_tag not found"):
        asking(answering(refusal)).paced(10.0, 0.1)


def test_a_broker_that_hangs_up(asking: Callable[[Serve], LeanRequests]) -> None:
    def hang_up(end: socket.socket) -> None:
        end.recv(65_536)
        end.shutdown(socket.SHUT_RDWR)

    with pytest.raises(BenchmarkError, match="closed the connection"):
        asking(hang_up).rate(1, 0.01)
