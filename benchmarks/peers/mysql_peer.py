"""Ids from MySQL without a worker: one UPDATE for each, on PyMySQL.

The server is as durable as by default meanwhile (`benchmark_stack`): for the peer as for idalloc,
whose reservations it takes in the same race.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from devstack import Database
from devstack.servers._database import connect

if TYPE_CHECKING:
    import pymysql

CONNECTIONS = 2
"""More only wait for each other at the lock of the row: of 1 to 64 it is the best number here."""

_TAG = "mysql_peer"  # a row that no worker refills from


class MySqlIds:
    """One connection, for one thread."""

    def __init__(self, connection: "pymysql.Connection[Any]") -> None:
        self._connection = connection

    def next_id(self) -> int:
        """Draw an id; the connection commits by itself."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "UPDATE segments SET max_id = LAST_INSERT_ID(max_id + 1) WHERE app_tag = %s",
                (_TAG,),
            )
            drawn: int = cursor.lastrowid
            return drawn


@contextmanager
def mysql_ids(database: Database) -> Iterator[list[MySqlIds]]:
    """Have as many connections as serve best."""
    database.query("INSERT INTO segments (app_tag, step) VALUES (%s, 1)", _TAG)
    with ExitStack() as closing:
        connections = [connect(database.server_url, database.name) for _ in range(CONNECTIONS)]
        for connection in connections:
            closing.callback(connection.close)
        yield [MySqlIds(connection) for connection in connections]
