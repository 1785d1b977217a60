"""Whoever asks for metrics at once is answered, however many others connect and say nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app

from idalloc_worker.metrics._admission import IN_A_CROWD, Admission
from idalloc_worker.metrics._server import _HttpServer
from idalloc_worker.settings._settings import load_settings

MOST = 4
LONGEST = 10.0


class Crowd:
    """An admission, its clock, and sockets that can be told from each other."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.now = 0.0
        self.pauses: list[float] = []
        self.admission = Admission(MOST, LONGEST, lambda: self.now, self.pauses.append)
        self._others: dict[socket.socket, socket.socket] = {}

    def come(self, address: str = "a") -> socket.socket | None:
        """Connect; None where one is not let in."""
        ours, theirs = socket.socketpair()
        self._stack.enter_context(ours)
        self._stack.enter_context(theirs)
        self._others[ours] = theirs
        return ours if self.admission.admit(ours, address) else None

    def let_in(self, address: str = "a", *, asked: bool = False) -> socket.socket:
        sock = self.come(address)
        assert sock is not None
        if asked:
            self.admission.asked(sock)
        return sock

    def cut(self, sock: socket.socket) -> bool:
        theirs = self._others[sock]
        theirs.settimeout(0)
        try:
            return theirs.recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with ExitStack() as stack:
        yield Crowd(stack)


def test_a_crowd_is_let_in_slowly(crowd: Crowd) -> None:
    """A thread for each of a thousand, all at once, would keep requests for ids waiting."""
    for _ in range(MOST):
        crowd.let_in()
    assert not crowd.pauses
    crowd.let_in()
    assert crowd.pauses == [IN_A_CROWD]


def test_the_oldest_silent_one_makes_room(crowd: Crowd) -> None:
    """Who has asked stays, however old."""
    asked = crowd.let_in(asked=True)
    silent = [crowd.let_in() for _ in range(MOST - 1)]
    crowd.let_in()
    assert [crowd.cut(each) for each in (asked, *silent)] == [False, True, False, False]


def test_the_address_with_most_of_them_makes_room(crowd: Crowd) -> None:
    """A crowd of one host is no reason to cut off another one's, which came first."""
    other = crowd.let_in("b")
    silent = [crowd.let_in("a") for _ in range(MOST - 1)]
    crowd.let_in("a")
    assert not crowd.cut(other)
    assert crowd.cut(silent[0])


def test_nobody_who_asked_makes_room_for_an_equal(crowd: Crowd) -> None:
    """The newcomer is refused."""
    asked = [crowd.let_in(asked=True) for _ in range(MOST)]
    assert crowd.come() is None
    assert not any(crowd.cut(each) for each in asked)


def test_who_reads_no_answer_makes_room_for_others(crowd: Crowd) -> None:
    """An address has no more than its share where another one wants its own."""
    asked = [crowd.let_in("a", asked=True) for _ in range(MOST)]
    crowd.let_in("b", asked=True)
    assert [crowd.cut(each) for each in asked] == [True, False, False, False]
    assert crowd.come("a") is None


def test_time_is_up_for_all(crowd: Crowd) -> None:
    """However it was spent, and whether something was asked or not."""
    before = [crowd.let_in(), crowd.let_in(asked=True)]
    crowd.now = LONGEST - 1
    later = crowd.let_in()
    crowd.now = LONGEST
    crowd.admission.cut_overdue()
    assert [crowd.cut(each) for each in (*before, later)] == [True, True, False]


def test_descriptors_are_bounded(crowd: Crowd) -> None:
    """Where those that were cut are not closed yet, no more are let in; then they are again."""
    everybody = [crowd.let_in() for _ in range(2 * MOST)]
    assert crowd.come() is None
    crowd.admission.gone(everybody[0])
    crowd.let_in()
    assert crowd.come() is None


def test_those_who_left_leave_room(crowd: Crowd) -> None:
    """Nobody is cut for one who comes after them."""
    first = [crowd.let_in() for _ in range(MOST)]
    crowd.admission.gone(first[2])
    crowd.let_in()
    assert not any(crowd.cut(each) for each in first)


# The server that goes by it


@pytest.fixture
def server() -> Iterator[_HttpServer]:
    """Serve with a short time for each connection."""
    with _HttpServer("127.0.0.1", 0) as http:
        http.admission = Admission(MOST, 0.3)
        http.set_app(make_wsgi_app(CollectorRegistry()))
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def ask(server: _HttpServer, request: bytes) -> bytes:
    """Send something, and read until the other side ends it."""
    with socket.create_connection(("127.0.0.1", server.server_port), 60) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(1000):
            answer += piece
        return answer


def test_a_request_is_answered(server: _HttpServer) -> None:
    """More often than there may be connections at a time."""
    for _ in range(3 * MOST):
        assert b" 200 OK\r\n" in ask(server, b"GET /metrics HTTP/1.0\r\n\r\n")


def test_a_request_that_drips_in(server: _HttpServer) -> None:
    """It is cut though each part of it comes in time, and costs no log line."""
    with socket.create_connection(("127.0.0.1", server.server_port), 60) as connection:
        connection.settimeout(0.02)
        connection.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        dripped = 0
        while True:
            try:
                connection.sendall(b"x")
                if not connection.recv(1):
                    break
            except TimeoutError:
                dripped += 1
                assert dripped < 3000, "it is still open"
            except OSError:
                break
    assert b" 200 OK\r\n" in ask(server, b"GET /metrics HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("ending", [b"Z: " + b"z" * 20_000, b"X: y\r\n" * 4000])
def test_a_request_without_an_end(server: _HttpServer, ending: bytes) -> None:
    """It is refused once it is longer than any that asks for something."""
    with socket.create_connection(("127.0.0.1", server.server_port), 60) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n" + ending)
        assert b" 431 " in connection.recv(100)


def test_other_machines_are_not_let_in_unless_asked_for() -> None:
    """A port opens on this machine alone."""
    assert load_settings(None, {}, {"IDALLOC_METRICS_PORT": "9464"}).metrics_host == "127.0.0.1"
