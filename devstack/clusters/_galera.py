"""A MariaDB Galera cluster of our own on loopback: every node takes writes, two of three go on."""

import shutil
from contextlib import closing, suppress
from pathlib import Path

import pymysql

from devstack.servers._database import connect
from devstack.servers._errors import NotInstalledError
from devstack.servers._guarded import Guarded
from devstack.servers._install import ensure_packages
from devstack.servers._mysql import PrivateMySql
from devstack.servers._opened import Opened
from devstack.servers._ports import free_port

_PLACES = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
_NODES = 3
_TIMEOUTS = "evs.suspect_timeout=PT3S;evs.inactive_timeout=PT6S;evs.inactive_check_period=PT0.5S"
"""A node that is silent is left out after seconds: the defaults (5 and 15) make tests slower."""

# How a node that joins gets the data: as `rsync` does it. Its daemon would go by the name of nobody
# if root starts it, and may write nothing then; so it is told to stay who it is.
_METHOD = "own_rsync"
_SCRIPT = """\
#!/bin/sh
PATH={folder}:$PATH
export PATH
exec wsrep_sst_rsync "$@"
"""
_RSYNC = """\
#!/bin/sh
previous=
for argument; do
  if [ "$previous" = --config ] && [ "$(id -u)" = 0 ]; then
    sed -i '1i uid = 0\\ngid = 0' "$argument"
  fi
  previous=$argument
done
exec {rsync} "$@"
"""


def find_galera() -> Path | None:
    """Return the path of Galera's library, or None if it is not installed."""
    return next((place for place in map(Path, _PLACES) if place.exists()), None)


class GaleraNode(PrivateMySql):
    """One node. It forms the cluster at its first start if it is the first one, else joins it."""

    kind = "Galera"

    def __init__(self, library: Path, *, forms: bool) -> None:
        super().__init__()
        self._library = library
        self._forms = forms
        self.group_port, self._ist_port, self._sst_port = (free_port() for _ in range(3))
        self.members: tuple[int, ...] = ()
        """The group ports of all nodes."""

    def online(self) -> int:
        """Count the nodes that it sees; 0 while it has no quorum, or has not caught up."""
        with suppress(OSError, pymysql.Error):
            state = self.state()
            if state["wsrep_ready"] == "ON" and state["wsrep_local_state_comment"] == "Synced":
                return int(state["wsrep_cluster_size"])
        return 0

    def state(self) -> dict[str, str]:
        """Read what it says of itself and its cluster."""
        return dict(self._ask("SHOW GLOBAL STATUS LIKE 'wsrep_%'"))

    def conflicts(self) -> int:
        """Count the transactions that were undone here in favour of another node's."""
        state = self.state()
        return int(state["wsrep_local_cert_failures"]) + int(state["wsrep_local_bf_aborts"])

    def isolate(self, *, on: bool = True) -> None:
        """Cut it off from the others, while it takes logins as before; or let it come back."""
        self._ask(f"SET GLOBAL wsrep_provider_options = 'gmcast.isolate={int(on)}'")

    def _ask(self, sql: str) -> list[tuple[str, str]]:
        with closing(connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _prepare(self, guarded: Guarded) -> None:
        super()._prepare(guarded)
        folder = guarded.folder / "bin"
        folder.mkdir()
        rsync = _RSYNC.format(rsync=shutil.which("rsync"))
        for name, text in (
            (f"wsrep_sst_{_METHOD}", _SCRIPT.format(folder=folder)),
            ("rsync", rsync),
        ):
            program = folder / name
            program.write_text(text, "utf-8")
            program.chmod(0o755)

    def _environment(self, folder: Path) -> dict[str, str]:
        environment = super()._environment(folder)
        return {**environment, "PATH": f"{folder / 'bin'}:{environment['PATH']}"}

    def _launch(self, guarded: Guarded) -> None:
        super()._launch(guarded)
        self._forms = False  # whoever comes back joins those who went on

    def _replication(self) -> list[str]:
        members = ",".join(f"127.0.0.1:{port}" for port in self.members)
        options = (
            f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port};"
            f"ist.recv_addr=127.0.0.1:{self._ist_port};{_TIMEOUTS}"
        )
        return [
            "--skip-log-bin",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={self._library}",
            f"--wsrep-provider-options={options}",
            f"--wsrep-cluster-address=gcomm://{members}",
            f"--wsrep-node-address=127.0.0.1:{self.group_port}",
            f"--wsrep-node-name=node-{self.group_port}",
            f"--wsrep-sst-method={_METHOD}",
            f"--wsrep-sst-receive-address=127.0.0.1:{self._sst_port}",
            *(["--wsrep-new-cluster"] if self._forms else []),
        ]


class GaleraCluster(Opened):
    """Three nodes. Each of them is a server that can be killed, paused, stopped, started again."""

    user = password = "idalloc"  # the account of every private server
    database = "id_alloc_db"

    def __init__(self) -> None:
        if find_galera() is None or shutil.which("rsync") is None:
            ensure_packages(["mariadb-server", "galera-4", "rsync"])
        library = find_galera()
        if library is None:
            raise NotInstalledError("galera-4 is installed in a place that is not known")
        self.nodes = [GaleraNode(library, forms=number == 0) for number in range(_NODES)]
        for node in self.nodes:
            node.members = tuple(other.group_port for other in self.nodes)

    def open(self) -> None:
        """Start the nodes one after the other: each copies the data of one before."""
        for node in self.nodes:
            node.start()
        with closing(connect(self.nodes[0].url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {self.database}")

    def close(self) -> None:
        """End all nodes and remove their folders."""
        for node in self.nodes:
            node.close()
