"""A short-lived database connection for the command line."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from idalloc_worker.mysql import (
    Lifeline,
    MySqlAddress,
    MySqlHosts,
    OpenHost,
    check_width,
    is_definite,
    named_row,
    unavailable,
)
from idalloc_worker.tags import StoreReason, StoreUnavailableError

TIMEOUT: Final = 10.0
"""Seconds to connect, and to wait for each part of an answer."""

_PARTS: Final = 12
"""How many times as long a whole answer may take."""

_CONFLICTS: Final = 8
"""Times that a statement is repeated which the server undid in favour of another session."""

_NO_WRITES: Final = frozenset({StoreReason.READ_ONLY, StoreReason.NOT_WRITABLE})


@dataclass(frozen=True, slots=True)
class _Result:
    count: int
    rows: list[tuple[Any, ...]]
    description: Sequence[Sequence[object]]


class AdminSession:
    """A connection from `__enter__` to `__exit__`, each statement a transaction of its own.

    Of several hosts it uses the first that takes writes. `database` replaces the address's; empty
    means none. `patience` is how many seconds each part of an answer may take. Raises
    StoreUnavailableError.
    """

    def __init__(
        self, address: MySqlAddress, database: str | None = None, patience: float = TIMEOUT
    ) -> None:
        self._hosts = MySqlHosts(address)
        self._database = database
        self._patience = patience
        self._lifeline = Lifeline()
        self._host: OpenHost | None = None

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._lifeline.detach()
        host, self._host = self._host, None
        if host is not None:
            host.close()

    @property
    def address(self) -> MySqlAddress:
        """The host in use."""
        return self._opened().address

    def rows(self, sql: str, arguments: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement that returns rows."""
        return self._run(sql, arguments).rows

    def named_rows(
        self, sql: str, arguments: dict[str, object] | None = None
    ) -> list[dict[str, object]]:
        """Run a statement that returns rows; give each by the names of its columns."""
        result = self._run(sql, arguments)
        return [named_row(result.description, row) for row in result.rows]

    def change(self, sql: str, arguments: dict[str, object] | None = None) -> int:
        """Run a statement that changes rows and say how many it changed."""
        return self._run(sql, arguments).count

    def _run(self, sql: str, arguments: dict[str, object] | None) -> _Result:
        conflicts = 0
        while True:
            host, began = self._opened(), time.monotonic()
            try:
                with self._lifeline.limit(_PARTS * self._patience):
                    return _executed(host, sql, arguments)
            except Exception as error:
                failure = unavailable(host.address, error)
                conflicts += failure.reason is StoreReason.DEADLOCK
                if failure.reason is StoreReason.DEADLOCK and conflicts < _CONFLICTS:
                    continue
                if not self._moved(error, failure, began):
                    raise failure from error

    def _moved(self, error: Exception, failure: StoreUnavailableError, began: float) -> bool:
        """Go on at another host if this one takes no writes and has done nothing."""
        host = self._opened()
        if failure.reason not in _NO_WRITES or not is_definite(error) or not self._hosts.several:
            return False
        self._hosts.refused(host, began, failure)
        self._lifeline.detach()
        host.close()
        self._connect()  # says of each host why it cannot be used, where none is left
        return True

    def _connect(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        self._host = self._hosts.connect(self._lifeline, deadline, self._patience, self._database)

    def _opened(self) -> OpenHost:
        if self._host is None:
            raise AssertionError("used outside of its with block")
        return self._host


def _executed(host: OpenHost, sql: str, arguments: dict[str, object] | None) -> _Result:
    with host.connection.cursor() as cursor:
        count = cursor.execute(sql, arguments)
        result = _Result(count, list(cursor.fetchall()), cursor.description or ())
    check_width(result.rows, len(result.description))
    return result
