"""The connection of a store: statements and transactions on it, and what their failures mean."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, Final, TypeVar

from pymysql.connections import Connection

from idalloc_worker.mysql import (
    HOLD_BRIEFLY,
    IDLE_AGAIN,
    LOCK_WAIT,
    OVERFLOW,
    Lifeline,
    MySqlHosts,
    OpenHost,
    check_width,
    errno_of,
    is_definite,
    is_fault_of_host,
    named_row,
    unavailable,
)
from idalloc_worker.tags import (
    OutcomeUnknownError,
    StoreReason,
    StoreUnavailableError,
    TagExhaustedError,
)

# After these the connection is as good as before. After any other failure it is given up: on a lost
# one nothing can be trusted any more, and a primary that became read-only, a table or a right that
# is missing are better met anew, perhaps on another server behind the same name.
_HARMLESS: Final = frozenset({StoreReason.LOCK_WAIT_TIMEOUT, StoreReason.DEADLOCK})

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Found:
    rows: Sequence[tuple[Any, ...]]
    description: Sequence[Sequence[object]]


class StoreSession:
    """One connection to the database, opened when it is first needed.

    Owned by one thread; only the lifeline's `abort` may be called from another. What fails raises
    StoreUnavailableError, or OutcomeUnknownError where it may have succeeded.
    """

    def __init__(
        self,
        hosts: MySqlHosts,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lifeline = Lifeline()
        self.proven = False
        """Whether a row kept what was written to it on this connection."""
        self._hosts = hosts
        self._timeout = timeout
        self._clock = clock
        self._host: OpenHost | None = None
        self._deadline = 0.0
        self._in_transaction = False
        self._locked_out = False  # whether the last failure was a lock that was in the way
        self._closed = False

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Do something that has the store's time limit, and that `abort` ends."""
        self._deadline = self._clock() + self._timeout
        with self.lifeline.operation():
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a block whose changes are undone unless it commits.

        No proxy repeats a statement in it: what it began is gone with the connection. It is undone
        too if this process stands still in it for longer than the store's time limit.
        """
        self._unless_stale(self._begin)
        self._in_transaction = True
        try:
            yield
        finally:
            if self._host is not None:
                self._end(self._host.connection)
            self._in_transaction = False

    def read(
        self, sql: str, arguments: Mapping[str, object] | None = None, harmless: int | None = None
    ) -> Sequence[tuple[Any, ...]]:
        """Read rows; none where the server answers with the error that is harmless here."""
        return self._unless_stale(lambda: self._query(sql, arguments, harmless)).rows

    def read_named(
        self, sql: str, arguments: Mapping[str, object], harmless: int | None = None
    ) -> list[dict[str, object]]:
        """Read rows as `read` does, each by the names of its columns."""
        return _named(self._unless_stale(lambda: self._query(sql, arguments, harmless)))

    def lock(self, sql: str, arguments: Mapping[str, object]) -> list[dict[str, object]]:
        """Read rows as `read_named` does, and hold them until the transaction ends."""
        return _named(self._query(sql, arguments))

    def find_lock(self, sql: str, arguments: Mapping[str, object]) -> None:
        """See whether the lock that was in the way is the row's, with what waits for all others.

        If not, the host takes no writes, for whatever reason (a backup that never ends), and
        another one may.
        """
        if not self._locked_out or not self._hosts.several:
            return
        self._locked_out = False
        connection, began = self._connected(), self._clock()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, arguments)
        except Exception as error:
            if is_definite(error) and errno_of(error) != LOCK_WAIT:
                return  # it is not to be found out on this server
            host = self._opened()
            failure = self._failed(error, began)
            if failure.reason is StoreReason.LOCK_WAIT_TIMEOUT:
                self._hosts.refused(host, began, failure)
            raise failure from error

    def change(self, sql: str, arguments: Mapping[str, Any], ids: int = 0) -> int:
        """Run a statement once, on the connection that read the row; tells the rows it changed.

        So many ids may be reserved if the answer is lost; none in a transaction, before its commit.
        Raises TagExhaustedError where the column is too narrow.
        """
        host, began = self._opened(), self._clock()
        try:
            with host.connection.cursor() as cursor:
                changed = cursor.execute(sql, arguments)
        except Exception as error:  # also what PyMySQL raises for an answer that it cannot read
            if errno_of(error) in OVERFLOW:  # the column is narrower than the id space
                raise TagExhaustedError(arguments["app_tag"]) from error
            raise self._failed_write(error, began, ids, final=not self._in_transaction) from error
        if changed and not self._in_transaction:
            self._hosts.wrote(host)
        return changed

    def commit(self, ids: int = 0) -> None:
        """End the transaction. So many ids may be reserved if the answer is lost."""
        host, began = self._opened(), self._clock()
        try:
            host.connection.commit()
        except Exception as error:
            raise self._failed_write(error, began, ids, final=True) from error
        self._in_transaction = False
        self._hosts.wrote(host)

    def check_time(self) -> None:
        """Do not begin a reservation whose answer nobody waits for: it would only lose ids."""
        if self._clock() < self._deadline and not self.lifeline.aborted:
            return
        error = TimeoutError("the timeout passed before anything was reserved")
        raise self._failure(error) from error

    def close(self) -> None:
        """Log out, for good. Idempotent."""
        self._closed = True
        self._discard()

    def _unless_stale(self, statement: Callable[[], Result]) -> Result:
        """Run a statement that does no harm twice, on a new connection if this one was closed.

        The server closes connections that are idle for long, and all of them when it restarts.
        """
        idle = self._host is not None
        try:
            return statement()
        except StoreUnavailableError as error:
            if not (idle and error.reason is StoreReason.LOST_CONNECTION):
                raise
            return statement()

    def _query(
        self, sql: str, arguments: Mapping[str, object] | None, harmless: int | None = None
    ) -> _Found:
        connection, began = self._connected(), self._clock()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, arguments)
                found = _Found(cursor.fetchall(), cursor.description or ())
                check_width(found.rows, len(found.description))
                return found
        except Exception as error:
            if harmless is not None and errno_of(error) == harmless:
                return _Found((), ())
            raise self._failed(error, began) from error

    def _begin(self) -> None:
        connection, began = self._connected(), self._clock()
        try:
            with connection.cursor() as cursor:
                cursor.execute(HOLD_BRIEFLY.text, {"seconds": max(1, ceil(self._timeout))})
            connection.begin()
        except Exception as error:
            raise self._failed(error, began) from error

    def _end(self, connection: Connection) -> None:
        try:
            if self._in_transaction:
                connection.rollback()
            with connection.cursor() as cursor:
                cursor.execute(IDLE_AGAIN.text)
        except Exception:  # noqa: BLE001  # the server undoes it when the connection goes
            self._discard()

    def _failed(self, error: Exception, began: float) -> StoreUnavailableError:
        """Say why a statement failed, and whether that is a reason to go to another host."""
        failure = self._failure(error, keep_host=True)
        if self._host is not None:
            if is_fault_of_host(error):
                self._hosts.refused(self._host, began, failure)
            elif failure.reason is StoreReason.TIMEOUT:
                self._hosts.stalled(self._host, began, failure)
            elif failure.reason is StoreReason.LOCK_WAIT_TIMEOUT:
                self._hosts.locked_out(self._host, began, failure)
                self._locked_out = True
        self._discard_after(failure)
        return failure

    def _failed_write(
        self, error: Exception, began: float, ids: int, *, final: bool
    ) -> StoreUnavailableError:
        """Say why a change failed; `final`: what it changed is there if it succeeded."""
        failure = self._failed(error, began)
        if is_definite(error) or not final:
            return failure
        return OutcomeUnknownError(
            failure.reason,
            f"{failure}; {ids} ids may be lost",
            possibly_reserved=ids,
            errno=failure.errno,
        )

    def _failure(self, error: Exception, *, keep_host: bool = False) -> StoreUnavailableError:
        address = self._hosts.address if self._host is None else self._host.address
        failure = unavailable(address, error, aborted=self.lifeline.aborted)
        if not keep_host:
            self._discard_after(failure)
        return failure

    def _discard_after(self, failure: StoreUnavailableError) -> None:
        if failure.reason not in _HARMLESS:
            self._discard()

    def _opened(self) -> OpenHost:
        if self._host is None:
            raise AssertionError("a row is changed on the connection that read it")
        return self._host

    def _connected(self) -> Connection:
        if self._closed:
            raise StoreUnavailableError(StoreReason.OTHER, "the store is closed")
        if self._host is not None and not self._hosts.in_use(self._host):
            self._discard()  # nothing of a host that was left is used again
        if self._host is None:
            self._host = self._hosts.connect(self.lifeline, self._deadline, self._timeout)
        return self._host.connection

    def _discard(self) -> None:
        self.lifeline.detach()
        self.proven = False
        host, self._host = self._host, None
        if host is not None:
            host.close()


def _named(found: _Found) -> list[dict[str, object]]:
    return [named_row(found.description, row) for row in found.rows]
