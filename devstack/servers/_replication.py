"""Two private servers, one of which copies the other, for tests of failovers."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pymysql.cursors import DictCursor

from devstack.servers._database import connect
from devstack.servers._errors import ServerFailedError
from devstack.servers._mysql import PrivateMySql
from devstack.servers._opened import Opened

_SECONDS = 30
_LOGIN = "idalloc"  # the account of every private server


@dataclass(frozen=True)
class _Dialect:
    """How a server calls what this module asks of it."""

    position: str
    wait: str
    follow: str
    start: str
    stop: str
    forget: str
    status: str
    running: tuple[str, str]


_OLD = _Dialect(
    position="SHOW MASTER STATUS",
    wait="SELECT MASTER_POS_WAIT(%s, %s, %s) AS events",
    follow=(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = %s, "
        "MASTER_PASSWORD = %s, MASTER_LOG_FILE = %s, MASTER_LOG_POS = %s, MASTER_CONNECT_RETRY = 1"
    ),
    start="START SLAVE",
    stop="STOP SLAVE",
    forget="RESET SLAVE ALL",
    status="SHOW SLAVE STATUS",
    running=("Slave_IO_Running", "Slave_SQL_Running"),
)
_NEW = _Dialect(
    position="SHOW BINARY LOG STATUS",
    wait="SELECT SOURCE_POS_WAIT(%s, %s, %s) AS events",
    follow=(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = %s, "
        "SOURCE_USER = %s, SOURCE_PASSWORD = %s, SOURCE_LOG_FILE = %s, SOURCE_LOG_POS = %s, "
        "SOURCE_CONNECT_RETRY = 1, SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1"
    ),
    start="START REPLICA",
    stop="STOP REPLICA",
    forget="RESET REPLICA ALL",
    status="SHOW REPLICA STATUS",
    running=("Replica_IO_Running", "Replica_SQL_Running"),
)


class ReplicatedPair(Opened):
    """A primary, and a read-only replica that follows it; `promote` lets them change places."""

    def __init__(self) -> None:
        self.primary = PrivateMySql(server_id=1)
        self.replica = PrivateMySql(server_id=2)
        self._ports = (self.primary.port, self.replica.port)

    def url(self, user: str, password: str, database: str) -> str:
        """Name both, the first server first, whichever is the primary now."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"mysql://{user}:{password}@{hosts}/{database}"

    def open(self) -> None:
        """Start both and have one follow the other."""
        self.replica.read_only = True
        with ThreadPoolExecutor(2, thread_name_prefix="devstack-start") as pool:
            list(pool.map(lambda server: server.start(), (self.primary, self.replica)))
        self.follow()

    def close(self) -> None:
        """End both and remove their folders."""
        self.primary.close()
        self.replica.close()

    def follow(self) -> None:
        """Have the replica copy what the primary commits from now on."""
        dialect = _dialect(self.primary)
        [at] = _run(self.primary, dialect.position)
        source = (self.primary.port, _LOGIN, _LOGIN, at["File"], at["Position"])
        _run(self.replica, dialect.stop)
        _run(self.replica, dialect.follow, *source)
        _run(self.replica, dialect.start)
        self._wait_until_it_follows()

    def catch_up(self) -> None:
        """Wait until the replica has what the primary has committed so far."""
        dialect = _dialect(self.primary)
        [at] = _run(self.primary, dialect.position)
        [waited] = _run(self.replica, dialect.wait, at["File"], at["Position"], _SECONDS)
        if waited["events"] is None or waited["events"] < 0:
            raise ServerFailedError(f"the replica lags behind:\n{self.replica.log_tail()}")

    def stop_following(self) -> None:
        """Have the replica copy nothing more: the primary's next commits are missing there."""
        _run(self.replica, _dialect(self.replica).stop)

    def promote(self) -> None:
        """Let the replica take writes and be the primary, as it is; touches the old one not."""
        dialect = _dialect(self.replica)
        _run(self.replica, dialect.stop)
        _run(self.replica, dialect.forget)
        set_read_only(self.replica, on=False)
        self.replica.read_only = False
        self.primary, self.replica = self.replica, self.primary

    def rejoin(self) -> None:
        """Start the old primary, which was killed, as a read-only replica of the new one."""
        self.replica.read_only = True
        self.replica.start()
        self.follow()

    def _wait_until_it_follows(self) -> None:
        deadline = time.monotonic() + _SECONDS
        while not self._follows():
            if time.monotonic() > deadline:
                raise ServerFailedError(f"no replication:\n{self.replica.log_tail()}")
            time.sleep(0.05)

    def _follows(self) -> bool:
        dialect = _dialect(self.replica)
        [status] = _run(self.replica, dialect.status)
        if status["Last_SQL_Error"]:
            raise ServerFailedError(f"the replica stopped: {status['Last_SQL_Error']}")
        return all(status[thread] == "Yes" for thread in dialect.running)


def set_read_only(server: PrivateMySql, *, on: bool) -> None:
    """Have the server refuse writes, until its next start, or take them again."""
    _run(server, f"SET GLOBAL read_only = {int(on)}")


def _dialect(server: PrivateMySql) -> _Dialect:
    """MySQL has new words since 8.0.22 and only these since 8.4; MariaDB keeps the old ones."""
    [row] = _run(server, "SELECT VERSION() AS version")
    version = str(row["version"])
    if "MariaDB" in version:
        return _OLD
    number = tuple(int(part) for part in version.partition("-")[0].split("."))
    return _NEW if number >= (8, 2) else _OLD


def _run(server: PrivateMySql, sql: str, *arguments: object) -> list[dict[str, Any]]:
    with closing(connect(server.url)) as connection, connection.cursor(DictCursor) as cursor:
        cursor.execute(sql, arguments or None)
        return list(cursor.fetchall())
