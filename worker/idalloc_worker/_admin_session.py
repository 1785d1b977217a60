"""A short-lived database connection for the command line."""

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Self

from pymysql.err import MySQLError

from idalloc_worker._lifeline import Lifeline
from idalloc_worker._mysql_connection import open_connection
from idalloc_worker._mysql_errors import unavailable
from idalloc_worker._mysql_url import MySqlAddress

if TYPE_CHECKING:
    from pymysql.connections import Connection

TIMEOUT: Final = 10.0
"""Seconds to connect, and for each answer."""


class AdminSession:
    """A connection from `__enter__` to `__exit__`, each statement a transaction of its own.

    `database` replaces the address's; empty means none. Raises StoreUnavailableError.
    """

    def __init__(self, address: MySqlAddress, database: str | None = None) -> None:
        self._address = address
        self._database = database
        self._lifeline = Lifeline()
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        deadline = time.monotonic() + TIMEOUT
        try:
            self._connection = open_connection(
                self._address,
                self._lifeline,
                lambda: deadline - time.monotonic(),
                TIMEOUT,
                database=self._database,
            )
        except Exception as error:
            self._lifeline.detach()
            raise unavailable(self._address, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lifeline.detach()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(MySQLError):  # already closed
                connection.close()

    def rows(self, sql: str, arguments: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows."""
        return self._run(sql, arguments)[1]

    def change(self, sql: str, arguments: dict[str, object] | None = None) -> int:
        """Run a statement that changes rows and say how many it changed."""
        return self._run(sql, arguments)[0]

    def _run(
        self, sql: str, arguments: dict[str, object] | None
    ) -> tuple[int, list[tuple[Any, ...]]]:
        if self._connection is None:
            raise AssertionError("used outside of its with block")
        try:
            with self._connection.cursor() as cursor:
                count = cursor.execute(sql, arguments)
                return count, list(cursor.fetchall())
        except Exception as error:
            raise unavailable(self._address, error) from error
