"""Runs the product's own command against a stack, as an operator would at a terminal."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from devstack.servers._database import SCHEMA_DATABASE, scratch_name
from devstack.servers._errors import DevStackError
from devstack.servers._guarded import Guarded
from devstack.servers._management import scratch_vhost
from devstack.servers._server import tail
from devstack.servers._stack import AMQP_URL, MYSQL_URL, Stack

COMMAND_SECONDS = 120.0
WAIT_SECONDS = 120.0
_BETWEEN_TRIES = 0.2
_ADDRESS = re.compile(r"http://\S+/(?=\n)")


def say(text: str = "") -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)  # noqa: T201 - the one place that talks to a person


@dataclass(frozen=True)
class Site:
    """The vhost and the database in which the product is to work."""

    amqp_url: str
    mysql_server_url: str
    database: str
    given: bool
    """Whether one of the servers is somebody else's, so that passwords are not for the screen."""

    @property
    def mysql_url(self) -> str:
        return f"{self.mysql_server_url}/{self.database}"

    @property
    def variables(self) -> dict[str, str]:
        return {"IDALLOC_AMQP_URL": self.amqp_url, "IDALLOC_MYSQL_URL": self.mysql_url}

    def exports(self) -> str:
        """Return the lines that a person pastes into a shell to run the same commands."""
        shown = {
            name: without_password(url) if self.given else url
            for name, url in self.variables.items()
        }
        return "\n".join(f"export {name}={shlex.quote(url)}" for name, url in shown.items())


@contextmanager
def site_on(stack: Stack, environ: Mapping[str, str]) -> Iterator[Site]:
    """Choose where to work: on somebody else's servers in a vhost and a database of our own."""
    own_database = not environ.get(MYSQL_URL)
    with ExitStack() as cleanup:
        amqp_url = stack.amqp_url
        if environ.get(AMQP_URL):
            vhost = scratch_vhost(amqp_url, stack.management_url, scratch_name("vhost"))
            amqp_url = cleanup.enter_context(vhost)
        yield Site(
            amqp_url=amqp_url,
            mysql_server_url=stack.mysql_url,
            database=SCHEMA_DATABASE if own_database else scratch_name("database"),
            given=not own_database or bool(environ.get(AMQP_URL)),
        )


def without_password(url: str) -> str:
    parts = urlsplit(url)
    user, at, address = parts.netloc.rpartition("@")
    return parts._replace(
        netloc=f"{user.partition(':')[0]}:***{at}{address}" if at else address
    ).geturl()


class Product:
    """The command `idalloc`, told by its environment where to work."""

    def __init__(self, site: Site) -> None:
        self._program = Path(sys.executable).with_name("idalloc")
        if not self._program.exists():
            raise DevStackError(f"{self._program} does not exist; run: make install")
        own = {key: value for key, value in os.environ.items() if not key.startswith("IDALLOC_")}
        self._environment = {**own, **site.variables}

    def run(self, *arguments: str) -> str:
        """Show a command and what it prints; return that.

        Raises DevStackError if it fails.
        """
        say(f"$ idalloc {shlex.join(arguments)}")
        result = self._execute(*arguments)
        if result.returncode != 0:
            raise DevStackError(
                f"idalloc {shlex.join(arguments)} ended with code {result.returncode}:\n"
                f"{result.stdout}{result.stderr}"
            )
        say(result.stdout.rstrip())
        return result.stdout

    def run_until(self, wanted: Callable[[Any], bool], *arguments: str) -> Any:
        """Repeat a command until the JSON that it prints is as wanted; show and return the last.

        Raises DevStackError if that does not happen within 30 seconds.
        """
        say(f"$ idalloc {shlex.join(arguments)}")
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            result = self._execute(*arguments)
            if result.returncode == 0 and wanted(json.loads(result.stdout)):
                say(result.stdout.rstrip())
                return json.loads(result.stdout)
            if time.monotonic() > deadline:
                raise DevStackError(
                    f"idalloc {shlex.join(arguments)} did not answer as expected within "
                    f"{WAIT_SECONDS:.0f} s; its last answer, with code {result.returncode}:\n"
                    f"{result.stdout}{result.stderr}"
                )
            time.sleep(_BETWEEN_TRIES)

    @contextmanager
    def workers(self, processes: int, *, log: bool) -> "Iterator[Workers]":
        """Run `idalloc worker` in the background, stopped at the end as an operator would."""
        arguments = ["worker", "--processes", str(processes)]
        say(f"$ idalloc {shlex.join(arguments)}{' &' if log else ''}")
        with Guarded("worker") as guarded:
            workers = Workers(guarded, guarded.folder / "worker.log" if log else None)
            guarded.start([self._program, *arguments], self._environment, workers.log)
            try:
                yield workers
            finally:
                guarded.stop()

    @contextmanager
    def dashboard(self) -> Iterator[str]:
        """Run `idalloc dashboard` in the background on a free port, and give its address.

        Raises DevStackError if it does not start.
        """
        with Guarded("dashboard") as guarded:
            log = guarded.folder / "dashboard.log"
            command: list[str | Path] = [self._program, "dashboard", "--listen", "127.0.0.1:0"]
            guarded.start(command, self._environment, log)
            deadline = time.monotonic() + WAIT_SECONDS
            while (found := _ADDRESS.search(log.read_text())) is None:
                if guarded.poll() is not None or time.monotonic() > deadline:
                    raise DevStackError(f"the dashboard did not start:\n{tail(log)}")
                time.sleep(_BETWEEN_TRIES)
            yield found[0]

    def _execute(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )


@dataclass(frozen=True)
class Workers:
    """Workers that run in the background."""

    guarded: Guarded
    log: Path | None

    def fail_if_ended(self) -> None:
        if (code := self.guarded.poll()) is not None:
            raise DevStackError(f"the worker ended by itself, with code {code}")

    def log_tail(self) -> str:
        return tail(self.log) if self.log else ""
