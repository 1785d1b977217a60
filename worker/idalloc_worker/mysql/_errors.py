"""Maps what PyMySQL and the sockets raise to a reason and a sentence for the operator."""

import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from pymysql.err import MySQLError

from idalloc_worker.mysql._trust import PasswordWithheldError
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.tags import StoreReason, StoreUnavailableError

OVERFLOW: Final = frozenset({1264, 1690})
"""Out of range for the column; out of range for BIGINT arithmetic."""

NO_SUCH_COLUMN: Final = 1054

LOCK_WAIT: Final = 1205

_REFUSING: Final = frozenset(
    {
        1021,  # disk full
        1026,  # error on write
        1030,  # got error N from the storage engine, 28 among them: no space
        1036,  # table is read only
        1047,  # Galera: not part of a cluster that has a quorum
        1114,  # table is full
        1180,  # Galera: the commit was under way when the node lost its cluster
        1223,  # a read lock conflicts
        1598,  # the binary log cannot be written
        1874,  # InnoDB is read only
        1878,  # a temporary file cannot be written
        1881,  # InnoDB is in forced recovery
        3032,  # offline mode
        3098,  # Group Replication: the table does not comply
        3100,  # a plugin refuses the commit, as Group Replication does
        3101,  # a plugin rolled the commit back
        3168,  # server is not available
        3796,  # Group Replication: no consistency level in this state of the member
        3797,  # what the group had before could not be waited for
        3798,  # nor what the others have not applied
        3799,  # no transaction begins while a primary is elected
    }
)
"""A server that answers, and cannot or will not write."""

_OF_THE_ROW: Final = frozenset(
    {
        1048,  # column cannot be NULL
        1062,  # duplicate key
        1264,  # out of range
        1265,  # data truncated
        1292,  # incorrect value, as a zero date is
        1364,  # no default value
        1366,  # incorrect value for the column's type
        1406,  # data too long
        1451,
        1452,  # foreign keys
        1644,  # SIGNAL of a trigger that gives no number of its own
        1690,  # out of range in arithmetic
        3819,
        4025,  # a CHECK fails, in MySQL and MariaDB
    }
)
"""What one row, or the table's rules for it, do not let through."""

_CLASSES_OF_THE_ROW: Final = frozenset({"22", "23", "45"})
"""SQL states that begin so: data, constraints, what a trigger of the user's signals."""

_PASSING: Final = frozenset({LOCK_WAIT, 1213, 1317, 3572})
"""Locks, and a statement that somebody killed."""

_TOO_SLOW: Final = frozenset({1969, 3024})
"""The server ended a statement that ran longer than it lets any run."""

_REASONS: Final[Mapping[int, StoreReason]] = {
    1044: StoreReason.ACCESS_DENIED,
    1045: StoreReason.ACCESS_DENIED,
    1049: StoreReason.MISSING_DATABASE,
    1053: StoreReason.LOST_CONNECTION,  # server shutdown in progress
    1129: StoreReason.ACCESS_DENIED,  # host blocked after many errors
    1130: StoreReason.ACCESS_DENIED,  # host not allowed
    1142: StoreReason.ACCESS_DENIED,
    1143: StoreReason.ACCESS_DENIED,
    1146: StoreReason.MISSING_TABLE,
    LOCK_WAIT: StoreReason.LOCK_WAIT_TIMEOUT,
    1213: StoreReason.DEADLOCK,
    1227: StoreReason.ACCESS_DENIED,
    1290: StoreReason.READ_ONLY,
    1698: StoreReason.ACCESS_DENIED,
    1792: StoreReason.READ_ONLY,
    1836: StoreReason.READ_ONLY,
    1927: StoreReason.LOST_CONNECTION,  # MariaDB: connection was killed
    2003: StoreReason.UNREACHABLE,
    2006: StoreReason.LOST_CONNECTION,
    2013: StoreReason.LOST_CONNECTION,
    2026: StoreReason.UNVERIFIED_SERVER,  # it offers no TLS
    3169: StoreReason.LOST_CONNECTION,  # session was killed
    4031: StoreReason.LOST_CONNECTION,  # closed by the server for being idle
    **dict.fromkeys(_TOO_SLOW, StoreReason.TIMEOUT),
    **dict.fromkeys(_REFUSING, StoreReason.NOT_WRITABLE),
}

_ADVICE: Final[Mapping[StoreReason, str]] = {
    StoreReason.UNREACHABLE: "cannot be reached; check its address and that it runs",
    StoreReason.LOST_CONNECTION: "closed the connection; it may be restarting",
    StoreReason.TIMEOUT: "did not answer in time; check its load and the network",
    StoreReason.ACCESS_DENIED: "refused the login or its rights; check user, password and grants",
    StoreReason.UNVERIFIED_SERVER: (
        "was not told the password, since it did not prove who it is; give its authority's file "
        "with ssl_ca in the URL, or its key's with server_public_key where it has no TLS, or let "
        "anybody have the password with ssl=disabled"
    ),
    StoreReason.MISSING_TABLE: "has no such table; idalloc init creates it",
    StoreReason.MISSING_DATABASE: "has no such database; idalloc init creates it",
    StoreReason.READ_ONLY: "is read-only; point idalloc at the primary",
    StoreReason.NOT_WRITABLE: "takes no writes; check its disk and its cluster",
    StoreReason.LOCK_WAIT_TIMEOUT: "gave up waiting for a lock; another session holds the row",
    StoreReason.DEADLOCK: "ended a deadlock by undoing this statement",
    StoreReason.OTHER: "could not do what it was asked",
}

# Errors of the server that can end a statement whose commit may still succeed, or has succeeded.
_AMBIGUOUS: Final = frozenset({1053, 1180, 1317, 1927, 3100, 3101, 3169})

_LONGEST_DETAIL: Final = 300

# What stands further ahead is what an operator has to put right if several hosts fail differently.
_BY_WEIGHT: Final = (
    StoreReason.MISSING_DATABASE,
    StoreReason.UNVERIFIED_SERVER,
    StoreReason.ACCESS_DENIED,
    StoreReason.OTHER,
    StoreReason.NOT_WRITABLE,
    StoreReason.READ_ONLY,
    StoreReason.TIMEOUT,
    StoreReason.LOST_CONNECTION,
    StoreReason.UNREACHABLE,
)


def errno_of(error: BaseException) -> int | None:
    """MySQL's error number, if the error has one."""
    number = error.args[0] if isinstance(error, MySQLError) and error.args else None
    return number if isinstance(number, int) and number > 0 else None


def is_definite(error: BaseException) -> bool:
    """Whether the server itself said that the statement failed, so that it changed nothing."""
    errno = errno_of(error)
    if errno is None or errno in _AMBIGUOUS:
        return False
    return not 2000 <= errno < 3000  # that range is the client's own: connection errors


def is_fault_of_host(error: BaseException) -> bool:
    """Whether another host may do what this one did not: all but a lock and the row's own fault.

    A connection that is lost says nothing yet: the next one will tell.
    """
    errno = errno_of(error)
    if errno is None or 2000 <= errno < 3000 or errno in _OF_THE_ROW | _PASSING:
        return False
    if str(getattr(error, "sqlstate", None))[:2] in _CLASSES_OF_THE_ROW:
        return False
    return _reason(error) not in {StoreReason.LOST_CONNECTION, StoreReason.TIMEOUT}


def unavailable(
    address: MySqlAddress, error: BaseException, *, aborted: bool = False
) -> StoreUnavailableError:
    """Say what `error` means for the operator. `aborted`: the caller cut the call short."""
    reason = StoreReason.TIMEOUT if aborted and not is_definite(error) else _reason(error)
    message = f"the database at {address} {_ADVICE[reason]} ({_detail(error)})"
    return StoreUnavailableError(reason, message, errno=errno_of(error))


def read_only(address: MySqlAddress, settings: Sequence[str]) -> StoreUnavailableError:
    """Say that a server takes no writes, by its own `settings`."""
    message = f"the database at {address} is read-only ({', '.join(sorted(settings))} is on)"
    return StoreUnavailableError(StoreReason.READ_ONLY, message)


def not_ready(address: MySqlAddress, status: str) -> StoreUnavailableError:
    """Say that a node of Galera refuses all but logins: it has no quorum, or is still joining."""
    message = f"the database at {address} takes no writes: its cluster's state is {status!r}"
    return StoreUnavailableError(StoreReason.NOT_WRITABLE, message)


def several_unavailable(failures: Sequence[StoreUnavailableError]) -> StoreUnavailableError:
    """Say why none of the hosts can be used: its own error for one, for several the gravest."""
    gravest = min(failures, key=lambda failure: _weight(failure.reason))
    message = "; ".join(map(str, failures))
    if len(failures) > 1:
        message = f"no database host can be used: {message}"
    return StoreUnavailableError(gravest.reason, message, errno=gravest.errno)


def _weight(reason: StoreReason) -> int:
    return _BY_WEIGHT.index(reason) if reason in _BY_WEIGHT else 0


def _reason(error: BaseException) -> StoreReason:
    cause = getattr(error, "original_exception", error)  # where PyMySQL keeps it
    if isinstance(cause, (PasswordWithheldError, ssl.SSLCertVerificationError)):
        return StoreReason.UNVERIFIED_SERVER
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return StoreReason.TIMEOUT
    if isinstance(error, OSError):
        return StoreReason.UNREACHABLE
    return _REASONS.get(errno_of(error) or 0, StoreReason.OTHER)


def _detail(error: BaseException) -> str:
    """Its own words on one line. A bare exception's class says more than its text does."""
    if isinstance(error, MySQLError) and len(error.args) > 1:
        text = f"{error.args[0]}: {error.args[1]}"
    else:
        text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_LONGEST_DETAIL]
