"""Private servers can be stopped, killed, paused and started again, and keep port and data."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pika
import pika.exceptions
import pymysql
import pytest

from devstack import (
    Management,
    PrivateMySql,
    PrivateRabbitMq,
    ServerFailedError,
    private_mysql,
    private_rabbitmq,
)
from devstack.servers import _guarded
from devstack.servers._database import connect

pytestmark = pytest.mark.long

PATIENCE = 120.0


@pytest.fixture(scope="module")
def rabbit() -> Iterator[PrivateRabbitMq]:
    with private_rabbitmq() as server:
        yield server


@pytest.fixture(scope="module")
def mysql() -> Iterator[PrivateMySql]:
    with private_mysql() as server:
        yield server


def execute(url: str, sql: str) -> tuple[object, ...] | None:
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        row: tuple[object, ...] | None = cursor.fetchone()
        return row


def publish(url: str, queue: str, body: bytes) -> None:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True)
        properties = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", queue, body, properties, mandatory=True)


def fetch(url: str, queue: str) -> bytes | None:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        _, _, body = connection.channel().basic_get(queue, auto_ack=True)
        return body if body is None else bytes(body)


def listening_addresses(folder: Path) -> set[str]:
    """Return the addresses, in the kernel's notation, on which the folder's processes listen."""
    sockets: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() not in (process / "cmdline").read_bytes():
                continue
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        sockets.update(match[1] for link in links if (match := re.match(r"socket:\[(\d+)\]", link)))
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text("ascii").splitlines()[1:]
    ]
    return {row[1].split(":")[0] for row in lines if row[3] == "0A" and row[9] in sockets}


def test_rabbitmq_comes_back_with_its_messages(rabbit: PrivateRabbitMq) -> None:
    """A durable queue and its persistent message are there again, at the same URL."""
    publish(rabbit.url, "kept", b"message")
    # In this order: RabbitMQ says that a queue is declared before its disk says so.
    for end in (rabbit.stop, rabbit.kill):
        end()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", rabbit.port), PATIENCE)
        rabbit.start()
    assert fetch(rabbit.url, "kept") == b"message"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_mysql_comes_back_with_what_was_committed(mysql: PrivateMySql, end: str) -> None:
    """A row whose commit was answered is there again, at the same URL."""
    execute(mysql.url, f"CREATE DATABASE kept_{end}")
    execute(mysql.url, f"CREATE TABLE kept_{end}.t (n INT) ENGINE=InnoDB")
    execute(mysql.url, f"INSERT INTO kept_{end}.t VALUES (42)")
    getattr(mysql, end)()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", mysql.port), PATIENCE)
    mysql.start()
    assert execute(mysql.url, f"SELECT n FROM kept_{end}.t") == (42,)


def test_a_stop_is_graceful(rabbit: PrivateRabbitMq, mysql: PrivateMySql) -> None:
    """Both servers log that they were asked to stop, which a killed one cannot."""
    rabbit.stop()
    mysql.stop()
    try:
        assert "SIGTERM received - shutting down" in rabbit.log_tail()
        assert "Shutdown complete" in mysql.log_tail(5)
    finally:
        rabbit.start()
        mysql.start()


def test_a_paused_mysql_accepts_but_does_not_greet(mysql: PrivateMySql) -> None:
    """It is silent until it is resumed, as a host that hangs is."""
    mysql.pause()
    with socket.create_connection(("127.0.0.1", mysql.port), 0.3) as connection:
        with pytest.raises(TimeoutError):
            connection.recv(1)
        mysql.resume()
        connection.settimeout(PATIENCE)
        assert connection.recv(1)


def test_a_paused_rabbitmq_keeps_its_connections(rabbit: PrivateRabbitMq) -> None:
    """What was open before the pause works after it."""
    with closing(pika.BlockingConnection(pika.URLParameters(rabbit.url))) as connection:
        channel = connection.channel()
        rabbit.pause()
        opened = threading.Event()

        def open_another() -> None:
            pika.BlockingConnection(pika.URLParameters(rabbit.url)).close()
            opened.set()

        thread = threading.Thread(target=open_another, name="opener")
        thread.start()
        assert not opened.wait(0.3)
        rabbit.resume()
        assert opened.wait(PATIENCE)
        thread.join()
        channel.queue_declare("after-the-pause", exclusive=True)


def test_a_paused_server_can_be_killed_and_started(mysql: PrivateMySql) -> None:
    """A pause is no obstacle to what comes next."""
    mysql.pause()
    mysql.kill()
    mysql.start()
    assert execute(mysql.url, "SELECT 1") == (1,)


def test_rabbitmq_has_the_plugins(rabbit: PrivateRabbitMq) -> None:
    """The management UI and the consistent hash exchange are on."""
    overview = Management(rabbit.management_url).get("/api/overview")
    assert "x-consistent-hash" in {kind["name"] for kind in overview["exchange_types"]}


def test_rabbitmqctl_reaches_the_private_node(rabbit: PrivateRabbitMq) -> None:
    """Fault tests can raise an alarm or close connections."""
    assert "guest" in rabbit.ctl("list_users")


@pytest.mark.parametrize("server", ["rabbit", "mysql"])
def test_nothing_listens_beyond_the_loopback(
    server: str, rabbit: PrivateRabbitMq, mysql: PrivateMySql
) -> None:
    """Every listening socket, epmd and the distribution port included, is bound to 127.0.0.1."""
    folder = rabbit.folder if server == "rabbit" else mysql.folder
    assert listening_addresses(folder) == {"0100007F"}


def test_the_accounts_may_create_databases_and_users(mysql: PrivateMySql) -> None:
    """Tests make least-privilege users of their own."""
    execute(mysql.url, "CREATE USER 'tester'@'%' IDENTIFIED BY 'secret'")
    execute(mysql.url, "GRANT SELECT ON *.* TO 'tester'@'%'")
    url = f"mysql://tester:secret@127.0.0.1:{mysql.port}"
    assert execute(url, "SELECT CURRENT_USER()") == ("tester@%",)
    with pytest.raises(pymysql.err.OperationalError):
        execute(url, "CREATE DATABASE forbidden")


@pytest.mark.parametrize("kind", [PrivateRabbitMq, PrivateMySql])
def test_a_failed_start_shows_the_servers_own_log(
    kind: type[PrivateRabbitMq | PrivateMySql], rabbit: PrivateRabbitMq, mysql: PrivateMySql
) -> None:
    """The error of a server whose port is taken says so in the server's words; nothing is left."""
    server = kind()
    taken = rabbit.port if kind is PrivateRabbitMq else mysql.port
    server.port = taken
    with (
        pytest.raises(ServerFailedError, match=r"(?s)its log ends with:.*(in use|eaddrinuse)"),
        server,
    ):
        pytest.fail("it started on a port that is taken")
    assert not server.folder.exists()


def test_closing_ends_a_start_that_is_under_way() -> None:
    """Who gives up does not wait for the server, and the starter is told."""
    server = private_rabbitmq()
    caught: list[BaseException] = []

    def start() -> None:
        try:
            server.start()
        except ServerFailedError as error:
            caught.append(error)

    thread = threading.Thread(target=start, name="starter")
    thread.start()
    while server._guarded is None or not (server.folder / "server.log").exists():
        thread.join(0.01)
    server.close()
    thread.join(PATIENCE)
    assert "was closed" in str(caught[0])
    assert not server.folder.exists()


def test_a_closed_server_stays_closed(tmp_path: Path) -> None:
    """After `close()` there is neither folder nor guardian, and no second life."""
    with private_mysql() as server:
        folder = server.folder
    assert not folder.exists()
    server.close()
    with pytest.raises(ServerFailedError, match="was closed"):
        server.start()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """The guardian's patience is bounded, and it finds what is in the background."""
    with _guarded.Guarded("stubborn") as guarded:
        log = guarded.folder / "log"
        script = "trap '' TERM; (trap '' TERM; setsid sleep 1000 & echo up); sleep 1000"
        guarded.start(
            ["sh", "-c", script], {"PATH": "/usr/bin:/bin", "HOME": str(guarded.folder)}, log
        )
        while not log.exists() or "up" not in log.read_text("ascii"):
            assert guarded.poll() is None
        # The shell may still tell (128 + 9) that its child was killed, before it is itself.
        assert guarded.stop(grace=0.2) in {-9, 137}
        needle = f"HOME={guarded.folder}".encode()
        for _ in range(1000):  # what was killed may take a moment to be gone
            environs = [_environ(process) for process in Path("/proc").glob("[0-9]*")]
            if not any(needle in environ for environ in environs):
                return
            time.sleep(0.01)
        raise AssertionError("a process is left over")


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
