"""Has clients wait, so that what a test counts does not depend on how fast the machine is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from devstack import Database, TcpProxy
from devstack.workers import PATIENCE, Fleet, Worker, through
from idalloc_client import AsyncIdClient, IdClient
from idalloc_client._rpc._pending_calls import PendingCalls
from tests.contract._answers import Answers, rows

NO_COPIES = Path(__file__).parents[1] / "no_copies"
NO_DATABASE = "mysql://nobody:none@127.0.0.1:1/none?ssl_ca=none"
"""Where nobody listens, for a worker that is not to ask."""


@pytest.fixture(autouse=True)
def patient_clients(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls take their time, and send no copy of a request that is late: it takes ids too.

    A test marked `copies` is about such copies.
    """
    if request.node.get_closest_marker("copies") is None:
        monkeypatch.setattr(PendingCalls, "doubt", lambda *_: None)
    for client in (IdClient, AsyncIdClient):
        defaults = client.__init__.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "timeout", PATIENCE)


@pytest.fixture
def silent_database(database: Database) -> Iterator[str]:
    """Give the URL of a database that takes connections and answers nothing."""
    parts = urlsplit(database.url)
    with TcpProxy(parts.hostname or "", parts.port or 3306) as proxy:
        proxy.pause()
        yield through(proxy, database.url)


@pytest.fixture
def user(vhost: str) -> str:
    return unquote(urlsplit(vhost).username or "")


@pytest.fixture
def prepared(fleet: Fleet, database: Database, user: str) -> Fleet:
    """Start a worker whose table has the rows that the vectors want."""
    for row in rows():
        values = [user if value == "$user" else value for value in row.values()]
        names = ", ".join(row)
        places = ", ".join(["%s"] * len(row))
        database.query(f"INSERT INTO segments ({names}) VALUES ({places})", *values)
    fleet.start()
    return fleet


@pytest.fixture
def dev(vhost: str) -> Iterator[Callable[..., Worker]]:
    """Start `idalloc dev` with arguments."""
    with Fleet(vhost, NO_DATABASE) as fleet:

        def start(*arguments: str, **settings: object) -> Worker:
            worker = fleet.add(**settings)
            worker.command, worker.arguments = "dev", arguments
            worker.start()
            fleet.wait_ready(1)
            return worker

        yield start


@pytest.fixture
def answers(vhost: str) -> Iterator[Answers]:
    """Play the worker of the vectors."""
    played = Answers()
    with played.worker(vhost):
        yield played
