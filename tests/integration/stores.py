"""Stores, sessions and addresses for tests against a real database."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pymysql.connections import Connection

from devstack import Database, TcpProxy
from devstack.servers._database import connect
from devstack.workers import PATIENCE
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.mysql._sql import READ_ROW, RESERVE
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import StoreUnavailableError

TABLE = "segments"
THE_READ = READ_ROW.on(TABLE).partition(" WHERE ")[0].encode()
"""How the statement that reads a row begins, for a proxy to watch for."""
THE_WRITE = RESERVE.on(TABLE).partition(" SET ")[0].encode()
"""How the statements that change a row begin, likewise."""
PASSWORD = "s3cret-p%40ss"  # of logins that fail
NEVER = 300.0  # seconds: a store's own time limit where it must play no part


def address_of(database: Database) -> MySqlAddress:
    return MySqlAddress.parse(database.url)


def address_through(proxy: TcpProxy, database: Database) -> MySqlAddress:
    """Go through the proxy, without TLS, so that its hooks can read the statements."""
    return replace(address_of(database), host="127.0.0.1", port=proxy.port, ssl=False)


def several(*addresses: MySqlAddress) -> MySqlAddress:
    """Make one address of several, with the login of the first."""
    return replace(addresses[0], further_hosts=tuple((a.host, a.port) for a in addresses[1:]))


@contextmanager
def opened(
    address: MySqlAddress | MySqlHosts,
    timeout: float = NEVER,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Iterator[SegmentStore]:
    """Give a store whose own time limit plays no part, unless it is the point of the test."""
    hosts = address if isinstance(address, MySqlHosts) else MySqlHosts(address, clock, **options)
    store = SegmentStore(hosts, TABLE, timeout, clock)
    try:
        yield store
    finally:
        store.close()


def failure(call: Callable[[], object]) -> StoreUnavailableError:
    """Make the call fail and return the error, which must not hold the password."""
    with pytest.raises(StoreUnavailableError) as raised:
        call()
    error: BaseException | None = raised.value
    while error is not None:
        assert PASSWORD not in f"{error} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    return raised.value


@contextmanager
def session(database: Database) -> Iterator[Connection]:
    """Give another session on the same database."""
    with closing(connect(database.server_url, database.name)) as connection:
        yield connection


def run(connection: Connection, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments or None)
        return list(cursor.fetchall())


def add_tag(database: Database, app_tag: str, max_id: int = 0, step: int = 10) -> None:
    database.query(
        f"INSERT INTO {TABLE} (app_tag, max_id, step) VALUES (%s, %s, %s)", app_tag, max_id, step
    )


def mark_of(database: Database, app_tag: str) -> int:
    [(max_id,)] = database.query(f"SELECT max_id FROM {TABLE} WHERE app_tag = %s", app_tag)
    return int(max_id)


def remake_table(database: Database, columns: str, options: str = "ENGINE = InnoDB") -> None:
    """Replace the table of schema.sql by one that somebody else made."""
    database.query(f"DROP TABLE {TABLE}")
    database.query(f"CREATE TABLE {TABLE} ({columns}) {options}")


class Background:
    """Runs a call in a thread and keeps what it raised."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="test-background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - raised again by `join`
            self._error = error

    def join(self) -> None:
        """Wait for the end and raise what it raised."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it still runs"
        if self._error is not None:
            raise self._error
