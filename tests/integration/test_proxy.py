"""The proxy that fails on command does what each command says, and nothing else."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pymysql
import pytest

from devstack import Database, TcpProxy

PATIENCE = 120.0
BRIEF = 0.3  # long enough to see that nothing comes


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets; says `end` when the client has sent its last byte."""

    def handle(self) -> None:
        try:
            while data := self.request.recv(65536):
                self.request.sendall(data)
            self.request.sendall(b"end")
        except ConnectionError:
            pass


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = False
    block_on_close = True


@pytest.fixture
def echo() -> Iterator[int]:
    """Give the port of an echo server."""
    with EchoServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="echo")
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: int) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", echo) as running:
        yield running


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    """Give a connection through the proxy that is known to be up."""
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as connection:
        assert ask(connection, b"hello") == b"hello"
        yield connection


def ask(connection: socket.socket, data: bytes) -> bytes:
    """Send and return as many bytes as were sent."""
    connection.sendall(data)
    return read(connection, len(data))


def read(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (more := connection.recv(size - len(got))):
        got += more
    return got


def open_and_read(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.recv(1)


def silent(connection: socket.socket) -> bool:
    connection.settimeout(BRIEF)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False


def test_bytes_arrive_whole_and_in_order(client: socket.socket) -> None:
    """More than any buffer holds goes through unchanged, both ways."""
    data = bytes(range(256)) * 40_000
    sender = threading.Thread(target=client.sendall, args=(data,), name="sender")
    sender.start()
    assert read(client, len(data)) == data
    sender.join()


def test_delay_applies_to_each_way(proxy: TcpProxy, client: socket.socket) -> None:
    """An answer needs two delays, and none again when the delay is taken away."""
    proxy.delay = BRIEF
    client.sendall(b"slow")
    assert silent(client), "the answer came before two delays were over"
    assert read(client, 4) == b"slow"
    proxy.delay = 0.0
    assert ask(client, b"quick") == b"quick"


def test_drop_resets_every_connection(proxy: TcpProxy, client: socket.socket) -> None:
    """The client sees a reset, not an end; a new connection works."""
    assert proxy.connections == 1
    proxy.drop()
    assert proxy.connections == 0
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as again:
        assert ask(again, b"again") == b"again"
    assert proxy.accepted == 2


def test_pause_holds_bytes_until_resume(proxy: TcpProxy, client: socket.socket) -> None:
    """Nothing passes during a pause, nothing is lost by it, and connections can be opened."""
    proxy.pause()
    client.sendall(b"held")
    assert silent(client)
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as new:
        new.sendall(b"new")
        assert silent(new)
        proxy.resume()
        assert read(new, 3) == b"new"
    assert read(client, 4) == b"held"


def test_half_close_ends_one_direction(proxy: TcpProxy, client: socket.socket) -> None:
    """The client reads the end of the stream; what it sends still arrives."""
    seen = threading.Event()

    def see(data: bytes) -> bytes:
        seen.set()
        return data

    proxy.on_client_bytes = see
    proxy.half_close()
    assert client.recv(1) == b""
    client.sendall(b"still there")
    assert seen.wait(PATIENCE)


def test_half_close_of_the_servers_side(proxy: TcpProxy, client: socket.socket) -> None:
    """The server reads the end of the stream; what it sends still arrives."""
    proxy.half_close("server")
    assert read(client, 3) == b"end"


def test_refuse_leaves_open_connections_alone(proxy: TcpProxy, client: socket.socket) -> None:
    """New connections are reset at once until they are allowed again."""
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        open_and_read(proxy.port)
    assert ask(client, b"old") == b"old"
    proxy.refuse(on=False)
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as allowed:
        assert ask(allowed, b"ok") == b"ok"


def test_hooks_change_and_swallow_bytes(proxy: TcpProxy, client: socket.socket) -> None:
    """What a hook returns is passed on; None is nothing."""
    proxy.on_server_bytes = lambda data: None if data == b"secret" else data.upper()
    client.sendall(b"secret")
    assert silent(client)
    assert ask(client, b"public") == b"PUBLIC"


def test_a_hook_may_call_the_proxy(proxy: TcpProxy, client: socket.socket) -> None:
    """A hook that drops the connection it is asked about does not hang."""

    def drop(_: bytes) -> None:
        proxy.drop()

    proxy.on_server_bytes = drop
    client.sendall(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_an_unreachable_server_resets_the_client() -> None:
    """Nobody behind the proxy looks like a connection that breaks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()[1]
    with TcpProxy("127.0.0.1", nobody) as proxy, pytest.raises(ConnectionResetError):
        open_and_read(proxy.port)


def test_the_end_of_both_directions_ends_the_connection(
    proxy: TcpProxy, client: socket.socket
) -> None:
    """Nothing of a connection that both sides have closed stays in the proxy."""
    client.shutdown(socket.SHUT_WR)
    assert read(client, 3) == b"end"
    assert client.recv(1) == b""
    proxy.refuse(on=False)  # any command: it returns after the round that saw the end
    assert proxy.connections == 0


def test_close_ends_everything_and_can_be_repeated(echo: int) -> None:
    """No thread and no listener stay behind; later commands are refused, not ignored."""
    proxy = TcpProxy("127.0.0.1", echo)
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as connection:
        ask(connection, b"x")
        proxy.close()
        proxy.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert f"proxy-{proxy.port}" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)
    with pytest.raises(RuntimeError, match="closed"):
        proxy.drop()


def test_a_commit_whose_answer_is_lost(database: Database) -> None:
    """The client sees a lost connection; the database has committed."""
    server = urlsplit(database.server_url)
    assert server.hostname
    assert server.port
    with TcpProxy(server.hostname, server.port) as proxy:
        through = pymysql.connect(
            host="127.0.0.1",
            port=proxy.port,
            user=server.username,
            password=server.password or "",
            database=database.name,
            ssl_disabled=True,  # else the proxy cannot see which request it is
        )
        with closing(through) as connection:
            connection.cursor().execute("UPDATE segments SET max_id = max_id + 7")
            proxy.lose_answer_to(b"COMMIT")
            with pytest.raises(pymysql.OperationalError) as caught:
                connection.commit()
            assert caught.value.args[0] == 2013
        assert database.query("SELECT max_id FROM segments") == [(7,)]
