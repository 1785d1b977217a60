"""What a database server sends is bounded, checked, and never a reason to send it a file."""

import ssl
import time
from pathlib import Path

import pytest

from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.mysql._reading import BoundedConnection
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import StoreError, StoreReason, StoreUnavailableError
from tests import hostile_mysql as hostile
from tests.hostile_mysql import HostileMySql, Script


def failure(then: Script) -> StoreError:
    """Log in, have ids reserved, and give what comes of it."""
    with HostileMySql(then=then) as server:
        address = MySqlAddress.parse(f"mysql://u:x@127.0.0.1:{server.port}/db")
        store = SegmentStore(MySqlHosts(address), "segments", 300)
        try:
            with pytest.raises(StoreError) as raised:
                store.reserve(ReservationRequest("order", 1))
        finally:
            store.close()
    return raised.value


def test_authorities_that_nobody_asks_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own take longer to read than all else that a connection needs."""
    read: list[object] = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: read.append(1))
    contexts = {vars(BoundedConnection(defer_connect=True))["ctx"] for _ in range(2)}
    assert [context.verify_mode for context in contexts] == [ssl.CERT_NONE]
    assert read == []


def test_no_file_is_sent(tmp_path: Path) -> None:
    """A server may ask for any file that the worker can read (LOAD DATA LOCAL): it gets none."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"file-content")
    heard: list[bytes] = []

    def ask_for_file(caller: hostile.Caller) -> None:
        heard.append(caller.ask(b"\xfb" + str(secret).encode()))

    failure(ask_for_file)
    assert not any(b"file-content" in packet for packet in heard)


def _column(name: bytes, kind: int = 8) -> bytes:
    texts = [b"def", b"", b"", b"", name, name]
    packed = b"".join(bytes([len(text)]) + text for text in texts)
    return packed + b"\x0c" + b"\x3f\x00\xff\x00\x00\x00" + bytes([kind]) + bytes(5)


@pytest.mark.parametrize("kind", ["rows", "columns", "one packet", "results"])
def test_an_answer_without_an_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read up to a bound, and the connection given up."""
    monkeypatch.setattr("idalloc_worker.mysql._reading.LARGEST_ANSWER", 2**20)
    last: list[int] = []

    def endless(caller: hostile.Caller) -> None:
        if kind == "columns":
            caller.send(b"\xfe" + (2**40).to_bytes(8, "little"))
        elif kind == "rows":
            for payload in (b"\x01", _column(b"max_id"), hostile.EOF):
                caller.send(payload)
        while True:
            last.append(1)
            match kind:
                case "rows":
                    caller.send(b"\x01" + b"7")
                case "columns":
                    caller.send(_column(b"max_id"))
                case "one packet":
                    caller.sock.sendall(
                        b"\xff\xff\xff" + bytes([len(last) % 256]) + bytes(2**24 - 1)
                    )
                case _:
                    caller.send(hostile.OK[:3] + b"\x0a\x00\x00\x00")

    error = failure(endless)
    assert isinstance(error, StoreUnavailableError)
    assert (error.reason, error.errno) == (StoreReason.OTHER, 2027)


@pytest.mark.parametrize(
    "row", [b"", b"\xfb", b"\x09123456789", b"\xfe" + b"\xff" * 8, b"\x03inf", b"\x01-"]
)
@pytest.mark.parametrize("kind", [8, 246, 5, 253, 12])
def test_odd_values(row: bytes, kind: int) -> None:
    """Whatever a row holds, it is an error of the store's, and short."""

    def one_row(caller: hostile.Caller) -> None:
        for payload in (b"\x02", _column(b"max_id", kind), _column(b"step", kind), hostile.EOF):
            caller.send(payload)
        caller.send(row)
        caller.send(hostile.EOF)

    assert len(str(failure(one_row))) < 1000


def drip(caller: hostile.Caller) -> None:
    """Begin a packet, and send a byte of it now and then, so that no read waits for long."""
    caller.sock.sendall(b"\xff\xff\x00" + bytes([caller.following]))
    while True:
        caller.sock.sendall(b"\x01")
        time.sleep(0.02)


def time_of(server: HostileMySql) -> None:
    """Run a command that is to be over when its time is, whatever the server does."""
    address = MySqlAddress.parse(f"mysql://u:x@127.0.0.1:{server.port}/db")
    with pytest.raises(StoreUnavailableError) as raised, AdminSession(address) as session:
        session.rows("SELECT 1")
    assert raised.value.reason is StoreReason.TIMEOUT


def test_a_login_that_drips_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gives it up, also where there is one host only."""
    monkeypatch.setattr("idalloc_worker.store._admin_session.TIMEOUT", 0.5)
    with HostileMySql(drip) as server:
        time_of(server)


def test_an_answer_that_drips_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gives it up."""
    monkeypatch.setattr("idalloc_worker.store._admin_session._PARTS", 0.05)
    with HostileMySql(then=drip) as server:
        time_of(server)
