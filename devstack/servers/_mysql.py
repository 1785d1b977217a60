"""Runs a MariaDB or MySQL of our own, whichever is installed, on a free loopback port."""

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pymysql

from devstack.servers._database import connect
from devstack.servers._errors import NotInstalledError
from devstack.servers._guarded import Guarded
from devstack.servers._ports import free_port
from devstack.servers._server import PrivateServer

_USER = "idalloc"
_ACCOUNTS = f"""\
CREATE USER IF NOT EXISTS '{_USER}'@'%' IDENTIFIED BY '{_USER}';
GRANT ALL ON *.* TO '{_USER}'@'%' WITH GRANT OPTION;
"""

# Debian keeps servers where only root's PATH looks.
_SERVER_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/libexec"])


def find_mysql() -> Path | None:
    """Return the path of `mariadbd` or `mysqld`, or None if neither is installed."""
    for name in ("mariadbd", "mysqld"):
        if found := shutil.which(name, path=_SERVER_PATH):
            return Path(found)
    return None


class PrivateMySql(PrivateServer):
    """A MySQL or MariaDB with its own data; user and password idalloc, all privileges.

    With a `server_id` it can be one side of a replication. A `durable` one keeps its commits as it
    does by default, which costs time; any other keeps them through a kill, but not a power cut.
    """

    kind = "MySQL"
    probe_errors = (OSError, pymysql.Error)

    def __init__(self, server_id: int | None = None, *, durable: bool = False) -> None:
        super().__init__()
        self.port = free_port()
        self.read_only = False
        """Whether the next start makes it refuse the writes of those who may not override that."""
        self.certificate: Path | None = None
        """A file with certificate and key: the next start offers TLS."""
        self.authority: Path | None = None
        """Who signed that."""
        self._server_id = server_id
        self._durable = durable

    @property
    def url(self) -> str:
        """The server's URL, without a database."""
        return f"mysql://{_USER}:{_USER}@127.0.0.1:{self.port}"

    def _prepare(self, guarded: Guarded) -> None:
        program = _program()
        # The server reads it at every start before it listens, each line one statement.
        (guarded.folder / "accounts.sql").write_text(_ACCOUNTS, "utf-8")
        if _is_mariadb(program):
            argv: list[str | Path] = [
                _beside(program, "mariadb-install-db"),
                *self._common(guarded.folder),
                "--innodb-log-file-size=16M",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
        else:
            argv = [program, *self._common(guarded.folder), *_MYSQL_ONLY, "--skip-log-bin"]
            argv.append("--initialize-insecure")
        self._run(guarded, argv, self._environment(guarded.folder))

    def _launch(self, guarded: Guarded) -> None:
        program, folder = _program(), guarded.folder
        only = ["--innodb-log-file-size=16M"] if _is_mariadb(program) else _MYSQL_ONLY
        argv: list[str | Path] = [
            program,
            *self._common(folder),
            *only,
            *self._replication(),
            *self._tls(),
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--max-connections=500",
            f"--init-file={folder / 'accounts.sql'}",
        ]
        guarded.start(argv, self._environment(folder), log=folder / "server.log")

    def _tls(self) -> list[str]:
        if self.certificate is None:
            return []
        files = {"ca": self.authority, "cert": self.certificate, "key": self.certificate}
        return [f"--ssl-{name}={file}" for name, file in files.items() if file is not None]

    def _replication(self) -> list[str]:
        if self._server_id is None:
            return [] if self._durable else ["--skip-log-bin"]
        return [
            f"--server-id={self._server_id}",
            "--log-bin=binlog",
            "--loose-binlog-format=ROW",  # MariaDB's default is another
            f"--read-only={int(self.read_only)}",
        ]

    def _probe(self) -> None:
        with closing(connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@datadir")
            row = cursor.fetchone()
        # Another server on the same port would answer just as well, until ours gives up.
        if row is None or Path(row[0]) != self.folder / "data":
            raise ConnectionError(f"port {self.port} is another server's")

    def _environment(self, folder: Path) -> dict[str, str]:
        return {"PATH": _SERVER_PATH, "LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)}

    def _common(self, folder: Path) -> list[str]:
        return [
            "--no-defaults",  # must come first: the machine's own configuration is not ours
            f"--datadir={folder / 'data'}",
            "--socket=mysql.sock",  # relative to the data, as a socket's path must be short
            f"--pid-file={folder / 'mysql.pid'}",
            "--innodb-buffer-pool-size=32M",
            "--innodb-use-native-aio=OFF",  # many servers side by side would use up the kernel's
            # A commit is written at once but not synced: it survives kill -9, which is all that
            # a test does to the server.
            *([] if self._durable else ["--innodb-flush-log-at-trx-commit=2"]),
            "--performance-schema=ON",  # MariaDB's default is off; it keeps the clients' names
            # Root may run a server only by saying so.
            *(["--user=root"] if os.geteuid() == 0 else []),
        ]


_MYSQL_ONLY = [
    "--mysqlx=OFF",
    "--auto-generate-certs=OFF",  # no TLS: a proxy in between can then find a statement
    "--secure-file-priv=NULL",
    "--loose-innodb-redo-log-capacity=16M",  # from 8.0.30
]


def _program() -> Path:
    program = find_mysql()
    if program is None:
        raise NotInstalledError("neither mariadbd nor mysqld is installed")
    return program


def _is_mariadb(program: Path) -> bool:
    version = subprocess.run(
        [program, "--no-defaults", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return "MariaDB" in version.stdout


def _beside(program: Path, name: str) -> Path:
    path = os.pathsep.join([str(program.parent), str(program.parent.parent / "bin"), _SERVER_PATH])
    found = shutil.which(name, path=path)
    if found is None:
        raise NotInstalledError(f"{program} is installed without {name}")
    return Path(found)
