"""Connects to the database host that takes writes; all connections of a process move together."""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pymysql.err import MySQLError

from idalloc_client.amqp import HostChoice
from idalloc_worker.mysql._addresses import AddressMemory, Route
from idalloc_worker.mysql._connection import open_connection
from idalloc_worker.mysql._errors import not_ready, read_only, several_unavailable, unavailable
from idalloc_worker.mysql._lifeline import Lifeline
from idalloc_worker.mysql._sql import GALERA_STATE, WRITE_SETTINGS, Statement
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.tags import StoreReason, StoreUnavailableError

if TYPE_CHECKING:
    from pymysql.connections import Connection

_log = logging.getLogger("idalloc.database")

_OFF: Final = frozenset({"OFF", "0"})  # newer MariaDB knows several ways of being on
_READ_ONLY: Final = ("read_only", "super_read_only", "innodb_read_only")


@dataclass(frozen=True, slots=True)
class OpenHost:
    """A connection and where it leads."""

    connection: "Connection"
    number: int
    address: MySqlAddress
    route: Route

    def close(self) -> None:
        """Log out."""
        with suppress(MySQLError):  # already closed
            self.connection.close()


class MySqlHosts:
    """What a process knows of the hosts of one address; any thread may call anything.

    A single host is not asked whether it is read-only: its first write says so, and a proxy that
    divides reads from writes would answer for the wrong server.
    """

    def __init__(
        self,
        address: MySqlAddress,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.address = address
        self._addresses = address.each()
        self._clock = clock
        self._memories = [AddressMemory() for _ in self._addresses]
        self._lock = threading.Lock()  # guards the three below
        self._choice = HostChoice(len(self._addresses), jitter)
        self._failures: dict[int, StoreUnavailableError] = {}
        self._last_used: int | None = None

    def connect(
        self,
        lifeline: Lifeline,
        deadline: float,
        read_timeout: float,
        database: str | None = None,
    ) -> OpenHost:
        """Connect to the best host that takes writes, by `deadline`.

        Each host gets an equal share of the time that is left, so that one that hangs does not use
        up that of the next. `read_timeout` and `database` are those of `open_connection`.

        Raises StoreUnavailableError, at once where all hosts rest after a failure.
        """
        with self._lock:
            order, failures = self._choice.order(self._clock()), dict(self._failures)
        for position, number in enumerate(order):
            began = self._clock()
            if began >= deadline:  # no fault of this host
                error = TimeoutError("the timeout passed before it was tried")
                raise unavailable(self._addresses[number], error)
            share = (deadline - began) / (len(order) - position)
            try:
                opened = self._open(number, lifeline, began + share, read_timeout, database)
            except StoreUnavailableError as failure:
                failures[number] = failure
                self._note_failure(number, began, failure)
                if lifeline.aborted:
                    raise
            else:
                return self._adopted(opened, lifeline)
        raise several_unavailable([failure for _, failure in sorted(failures.items())])

    def in_use(self, opened: OpenHost) -> bool:
        """Whether the process has not left the host of this connection."""
        with self._lock:
            return self._choice.in_use(opened.number)

    @property
    def several(self) -> bool:
        """Whether there is another host to go to."""
        return len(self._addresses) > 1

    def refused(self, opened: OpenHost, began: float, failure: StoreUnavailableError) -> None:
        """Leave a host for another one: what it was asked at `began` failed by its own fault.

        A single host is left for the next address of its name, if it has several.
        """
        opened.route.failed()
        self._note_write(self._choice.refused, opened, began, failure)

    def stalled(self, opened: OpenHost, began: float, failure: StoreUnavailableError) -> None:
        """Note that there was no answer to what was asked at `began`: a host with a habit is left.

        Group Replication without a quorum does that to writes, and answers all else.
        """
        opened.route.failed()
        self._note_write(self._choice.stalled, opened, began, failure)

    def locked_out(self, opened: OpenHost, began: float, failure: StoreUnavailableError) -> None:
        """Note that a lock was in the way of what was asked at `began`."""
        self._note_write(self._choice.locked_out, opened, began, failure)

    def wrote(self, opened: OpenHost) -> None:
        """Note that a host has taken a write."""
        if self.several:
            with self._lock:
                self._choice.wrote(opened.number, self._clock())

    def _note_write(
        self,
        note: Callable[[int, float, float], bool],
        opened: OpenHost,
        began: float,
        failure: StoreUnavailableError,
    ) -> None:
        if not self.several:
            return
        with self._lock:
            if note(opened.number, began, self._clock()):
                self._failures[opened.number] = failure

    def _open(
        self,
        number: int,
        lifeline: Lifeline,
        deadline: float,
        read_timeout: float,
        database: str | None,
    ) -> OpenHost:
        address = self._addresses[number].renewed()
        route = Route(address, self._memories[number])

        def remaining() -> float:
            return deadline - self._clock()

        def connect() -> "Connection":
            return open_connection(route, lifeline, remaining, read_timeout, database=database)

        try:
            with lifeline.limit(remaining()):
                opened = OpenHost(connect(), number, address, route)
                return _writable(opened) if self.several else opened
        except Exception as error:
            route.failed()
            lifeline.detach()
            if isinstance(error, StoreUnavailableError):
                raise
            raise unavailable(address, error, aborted=lifeline.aborted) from error

    def _adopted(self, opened: OpenHost, lifeline: Lifeline) -> OpenHost:
        with self._lock:
            self._failures.pop(opened.number, None)
            adopted = self._choice.worked(opened.number, self._clock())
            moved = adopted and self._last_used != opened.number
            first, passed_over = self._last_used is None, list(self._failures.values())
            if adopted:
                self._last_used = opened.number
        if not adopted:  # another thread found another host meanwhile; one process uses one
            lifeline.detach()
            opened.close()
            message = f"the database at {opened.address} was not used: another host was found first"
            raise StoreUnavailableError(StoreReason.OTHER, message)
        if moved and (passed_over or not first):
            reasons = "; ".join(map(str, passed_over)) or "the one before failed"
            _log.warning("Reserving ids at %s from now on: %s", opened.address, reasons)
        return opened

    def _note_failure(self, number: int, began: float, failure: StoreUnavailableError) -> None:
        with self._lock:
            self._failures[number] = failure
            self._choice.failed(number, began, self._clock())


def _writable(opened: OpenHost) -> OpenHost:
    """Return the connection if the server takes writes, else close it and raise."""
    try:
        refusal = _refusal(opened)
    except BaseException:
        opened.close()
        raise
    if refusal is not None:
        opened.close()
        raise refusal
    return opened


def _refusal(opened: OpenHost) -> StoreUnavailableError | None:
    """Say why a server takes no writes, as far as it knows that itself."""
    settings = _shown(opened.connection, WRITE_SETTINGS)
    if on := [name for name in _READ_ONLY if settings.get(name, "OFF") not in _OFF]:
        return read_only(opened.address, on)
    if not _is_galera(settings):
        return None
    state = _shown(opened.connection, GALERA_STATE)
    if state.get("wsrep_ready", "ON") in _OFF:
        return not_ready(opened.address, state.get("wsrep_cluster_status", "unknown").lower())
    return None


def _is_galera(settings: dict[str, str]) -> bool:
    """Whether a server is a node: one that is none says that it is not ready, too."""
    provider = settings.get("wsrep_provider", "NONE")
    return provider not in {"NONE", ""} and settings.get("wsrep_on", "ON") not in _OFF


def _shown(connection: "Connection", statement: Statement) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text)
        return {name.lower(): value.upper() for name, value in cursor.fetchall()}
