"""Runs a RabbitMQ of our own, with the management plugin, on free loopback ports."""

import os
import secrets
import shutil
import socket
import subprocess
import urllib.error
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pika
import pika.exceptions

from devstack.servers._errors import DevStackError, NotInstalledError
from devstack.servers._guarded import Guarded
from devstack.servers._management import Management
from devstack.servers._ports import free_port
from devstack.servers._server import PrivateServer

PLUGINS = ("rabbitmq_management", "rabbitmq_consistent_hash_exchange")

# Not the one that Debian puts in the PATH: that changes to the user and the folder of the system's
# own broker, and does not run for anybody but root and that user.
_KNOWN_PLACES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server")
_CTL_SECONDS = 180

_CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {http}
default_user = {user}
default_pass = {password}
# Statistics that a test reads back should not be five seconds old.
collect_statistics_interval = 1000
# A small disk must not raise the disk alarm.
disk_free_limit.absolute = 1MB
log.file = false
log.console = true
log.console.level = notice
"""


def find_rabbitmq() -> Path | None:
    """Return the path of the program `rabbitmq-server`, or None if it is not installed."""
    for place in map(Path, _KNOWN_PLACES):
        if place.exists():
            return place
    in_path = shutil.which("rabbitmq-server")
    return Path(in_path) if in_path else None


class PrivateRabbitMq(PrivateServer):
    """A RabbitMQ node with its own name, cookie, home and epmd.

    `config` is added to its configuration, `plugins` to what it has enabled. The user has to exist:
    it is created only if `config` loads no definitions.
    """

    kind = "RabbitMQ"
    probe_errors = (OSError, urllib.error.URLError, pika.exceptions.AMQPError)

    def __init__(
        self,
        *,
        config: str = "",
        user: str = "guest",
        password: str = "guest",
        plugins: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._config = config
        self._plugins = (*PLUGINS, *plugins)
        self._credentials = f"{user}:{password}"
        self.port, self._http_port, self._dist_port, self._epmd_port = (
            free_port() for _ in range(4)
        )
        self._node = f"idalloc-{secrets.token_hex(4)}@localhost"
        self._cookie = secrets.token_hex(16)

    @property
    def name(self) -> str:
        """The node's name, as `rabbitmqctl` knows it."""
        return self._node

    @property
    def url(self) -> str:
        """The AMQP URL of the vhost `/`."""
        return f"amqp://{self._credentials}@127.0.0.1:{self.port}/%2F"

    @property
    def management_url(self) -> str:
        return f"http://{self._credentials}@127.0.0.1:{self._http_port}"

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` against the node and return what it prints.

        Takes one to two seconds. Raises DevStackError with its output if it fails.
        """
        result = subprocess.run(
            [_program().with_name("rabbitmqctl"), "-q", "-n", self._node, *arguments],
            env=self._environment(self.folder),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CTL_SECONDS,
            check=False,
        )
        if result.returncode != 0:
            raise DevStackError(
                f"rabbitmqctl {' '.join(arguments)} failed:\n{result.stdout}{result.stderr}"
            )
        return result.stdout

    def _prepare(self, guarded: Guarded) -> None:
        folder = guarded.folder
        user, _, password = self._credentials.partition(":")
        config = _CONFIG.format(amqp=self.port, http=self._http_port, user=user, password=password)
        (folder / "rabbitmq.conf").write_text(config + self._config, "utf-8")
        (folder / "plugins").write_text(f"[{','.join(self._plugins)}].\n", "utf-8")
        (folder / "rabbitmq-env.conf").touch()
        cookie = folder / ".erlang.cookie"
        cookie.write_text(self._cookie, "utf-8")
        cookie.chmod(0o400)

    def _launch(self, guarded: Guarded) -> None:
        environment = self._environment(guarded.folder)
        log = guarded.folder / "server.log"
        self._launch_epmd(guarded)
        guarded.start([_program()], environment, log)

    def _launch_epmd(self, guarded: Guarded) -> None:
        """Start the name server that RabbitMQ would else leave behind as a daemon."""
        environment, log = self._environment(guarded.folder), guarded.folder / "server.log"
        guarded.start(epmd_command(self._epmd_port), environment, log)

    def _probe(self) -> None:
        # pika logs each refused connection as an error, so the port is tried first.
        socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        Management(self.management_url).get("/api/overview")
        with closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            properties = connection._impl.server_properties or {}  # no public way to them
        # Another node on the same port would answer just as well, until ours gives up.
        cluster = str(properties.get("cluster_name", ""))
        if cluster.partition("@")[0] != self._cluster.partition("@")[0]:
            raise ConnectionError(f"port {self.port} is that of {cluster}")

    @property
    def _cluster(self) -> str:
        """The name of the cluster: one node alone is one too."""
        return self._node

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
            ),
            # Makes the start script replace itself by the server, as the Docker image does.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def _program() -> Path:
    program = find_rabbitmq()
    if program is None:
        raise NotInstalledError("rabbitmq-server is not installed")
    return program


def epmd_command(port: int) -> list[str | Path]:
    """Run the name server that tells where nodes listen. Raises NotInstalledError."""
    return [_epmd(), "-address", "127.0.0.1", "-port", str(port)]


def _epmd() -> Path:
    in_path = shutil.which("epmd")
    if in_path:
        return Path(in_path)
    for place in sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd")):
        return place
    raise NotInstalledError("epmd, a part of Erlang, is not installed")
