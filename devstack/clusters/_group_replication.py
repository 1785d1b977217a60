"""A MySQL Group Replication that somebody else has started on this machine."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import pymysql

from devstack.servers._errors import ServerFailedError

GROUP_URL = "IDALLOC_CLUSTER_MYSQL_URL"
"""The variable that names all of its servers, as a worker's URL does."""

_PATIENCE = 180.0
_LISTENING = "0A"
_EXPEL = "group_replication_member_expel_timeout"
_MEMBERS = (
    "SELECT COUNT(*), SUM(MEMBER_ID = @@server_uuid) "
    "FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'"
)


@dataclass(frozen=True)
class _Process:
    """A process, and how to start another one like it."""

    pid: int
    argv: tuple[str, ...]
    root: Path
    log: Path

    @classmethod
    def listening(cls, port: int) -> Self | None:
        """Find who listens on a port of 127.0.0.1."""
        for pid in _pids_with_socket(port):
            place = Path(f"/proc/{pid}")
            argv = (place / "cmdline").read_bytes().decode().rstrip("\0").split("\0")
            root, log = (place / "root").readlink(), (place / "fd" / "1").readlink()
            return cls(pid, tuple(argv), root, log)
        return None

    @property
    def socket(self) -> str:
        """Where a MySQL server's socket is, as the server itself sees it."""
        given = [part.partition("=")[2] for part in self.argv if part.startswith("--socket=")]
        return given[-1] if given else "/var/run/mysqld/mysqld.sock"

    @property
    def runs(self) -> bool:
        """Whether it has not ended; one that nobody has waited for yet has."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}

    def start_again(self, *options: str) -> None:
        """Start it with these options besides; it lives on when this process ends."""
        entry = () if self.root == Path("/") else ("chroot", str(self.root))
        log = self.log if self.log.is_file() else Path(os.devnull)
        with log.open("ab") as output:
            subprocess.run(
                ["setsid", "--fork", *entry, *self.argv, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
            )


class GroupMember:
    """One server of the group, which is started again as it was started first."""

    def __init__(self, port: int) -> None:
        process = _Process.listening(port)
        if process is None:
            raise ServerFailedError(f"nothing listens on port {port}, which {GROUP_URL} names")
        self.port = port
        self._process = process

    def start(self) -> None:
        """Start it and return when it is a member again."""
        # Where it was killed, this names its process, and by now perhaps somebody else's.
        Path(f"{self._process.root}/{self._process.socket}.lock").unlink(missing_ok=True)
        self._process.start_again("--group-replication-start-on-boot=ON", f"--{_EXPEL}=0")
        self._wait_for(lambda: self.online() > 0, "joins the group")
        found = _Process.listening(self.port)
        assert found is not None
        self._process = found

    def stop(self) -> None:
        """Stop it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it in its tracks."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def online(self) -> int:
        """Count the members that it sees in service, if it is one."""
        with suppress(OSError, pymysql.Error):
            count, itself = self._ask(_MEMBERS)
            return int(count) if itself else 0
        return 0

    def expel_at_once(self) -> None:
        """Have it expel a member that it suspects, until it ends: any wait costs 15 s more."""
        self._ask(f"SET GLOBAL {_EXPEL} = 0")

    def _ask(self, sql: str) -> tuple[int, int]:
        """Ask as its administrator, who logs in over its socket on this machine."""
        process = _Process.listening(self.port)
        if process is None:
            raise ConnectionError("it does not listen")
        sock = f"/proc/{process.pid}/root{process.socket}"
        login = pymysql.connect(user="root", unix_socket=sock, read_timeout=10, connect_timeout=10)
        with closing(login) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            row: tuple[int, int] = cursor.fetchone() or (0, 0)
            return row

    def _end(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)
        self._wait_for(lambda: not self._process.runs, "ends")

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise ServerFailedError(f"the server on port {self.port} never {what}")
            time.sleep(0.05)


class GroupReplication:
    """The group that `IDALLOC_CLUSTER_MYSQL_URL` names; it stays when a test ends."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        self.user, self.password = unquote(user), unquote(password)
        self.database = parts.path.removeprefix("/")
        self.nodes = [GroupMember(int(host.rpartition(":")[2])) for host in hosts.split(",")]


def _pids_with_socket(port: int) -> Iterator[int]:
    inodes = {f"socket:[{inode}]" for inode in _listeners(port)}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # it ended, or is somebody else's
            if str(descriptor.readlink()) in inodes:
                yield int(descriptor.parts[2])


def _listeners(port: int) -> Iterator[str]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING and int(fields[1].partition(":")[2], 16) == port:
            yield fields[9]
