"""Errors of PyMySQL and of sockets get a reason and a sentence that helps."""

from dataclasses import replace

import pytest
from pymysql.err import InterfaceError, InternalError, OperationalError

from idalloc_worker.mysql._errors import (
    is_definite,
    is_fault_of_host,
    read_only,
    several_unavailable,
    unavailable,
)
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.tags._errors import StoreReason

ADDRESS = MySqlAddress(user="me", password="s3cret", host="db")


@pytest.mark.parametrize(
    ("errno", "reason"),
    [
        (1044, StoreReason.ACCESS_DENIED),
        (1045, StoreReason.ACCESS_DENIED),
        (1049, StoreReason.MISSING_DATABASE),
        (1142, StoreReason.ACCESS_DENIED),
        (1146, StoreReason.MISSING_TABLE),
        (1205, StoreReason.LOCK_WAIT_TIMEOUT),
        (1213, StoreReason.DEADLOCK),
        (1290, StoreReason.READ_ONLY),
        (1792, StoreReason.READ_ONLY),
        (1836, StoreReason.READ_ONLY),
        (2006, StoreReason.LOST_CONNECTION),
        (2013, StoreReason.LOST_CONNECTION),
        (1040, StoreReason.OTHER),
        (1021, StoreReason.NOT_WRITABLE),
        (1030, StoreReason.NOT_WRITABLE),
        (1047, StoreReason.NOT_WRITABLE),
        (1114, StoreReason.NOT_WRITABLE),
        (1180, StoreReason.NOT_WRITABLE),
        (3032, StoreReason.NOT_WRITABLE),
        (3100, StoreReason.NOT_WRITABLE),
        (3101, StoreReason.NOT_WRITABLE),
        *((errno, StoreReason.NOT_WRITABLE) for errno in (3796, 3797, 3798, 3799)),
        (3024, StoreReason.TIMEOUT),
    ],
)
def test_an_error_number_has_a_reason(errno: int, reason: StoreReason) -> None:
    """MySQL's number decides the reason, and stays in field and text."""
    error = unavailable(ADDRESS, OperationalError(errno, "the server's\n words"))
    assert (error.reason, error.errno) == (reason, errno)
    assert f"({errno}: the server's words)" in str(error)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("timed out"), StoreReason.TIMEOUT),
        (ConnectionRefusedError(111, "refused"), StoreReason.UNREACHABLE),
        (InterfaceError(0, ""), StoreReason.OTHER),
        (InternalError("Packet sequence number wrong"), StoreReason.OTHER),
        (AssertionError("Protocol error"), StoreReason.OTHER),
    ],
)
def test_an_error_without_a_number_has_a_reason(error: Exception, reason: StoreReason) -> None:
    """Sockets and PyMySQL's own mistakes are mapped too, and are never definite."""
    assert unavailable(ADDRESS, error).reason is reason
    assert not is_definite(error)


def test_a_timeout_inside_a_lost_connection_is_a_timeout() -> None:
    """PyMySQL reports a read that timed out as a lost connection."""
    error = OperationalError(2013, "Lost connection")
    error.__context__ = TimeoutError()
    assert unavailable(ADDRESS, error).reason is StoreReason.TIMEOUT


@pytest.mark.parametrize("errno", [1053, 1180, 1317, 1927, 2006, 2013, 3101])
def test_an_error_that_may_follow_a_commit_is_not_definite(errno: int) -> None:
    """Lost connections and failed commits leave it open what happened."""
    assert not is_definite(OperationalError(errno, "x"))


@pytest.mark.parametrize("errno", [1047, 1205, 1213, 1290, 1690, 3796, 3797, 3798, 3799, 3819])
def test_a_refused_statement_is_definite(errno: int) -> None:
    """When the server refuses a statement, it changed nothing."""
    assert is_definite(OperationalError(errno, "x"))


@pytest.mark.parametrize("errno", [1, 1021, 1030, 1047, 1105, 1114, 1142, 1146, 1180, 1290, 3100])
def test_what_another_host_may_do_is_the_fault_of_this_one(errno: int) -> None:
    """Whatever is not known to be anybody else's."""
    assert is_fault_of_host(OperationalError(errno, "x", sqlstate="HY000"))


@pytest.mark.parametrize(
    "error",
    [
        *(
            OperationalError(errno, "x", sqlstate="HY000")
            for errno in (1205, 1213, 1264, 1317, 1364, 1644, 1690, 3572, 3819, 4025)
        ),
        OperationalError(12345, "x", sqlstate="45000"),
        OperationalError(12345, "x", sqlstate="22001"),
        OperationalError(12345, "x", sqlstate="23000"),
        *(OperationalError(errno, "x") for errno in (1053, 1927, 2006, 2013, 4031)),
        *(OperationalError(errno, "x") for errno in (1969, 3024)),
        InterfaceError(0, ""),
        TimeoutError(),
    ],
    ids=str,
)
def test_a_row_a_lock_or_a_lost_connection_is_no_fault_of_the_host(error: Exception) -> None:
    """Another host would say the same, or it passes, or it says nothing yet."""
    assert not is_fault_of_host(error)


@pytest.mark.parametrize("errno", [1205, 2013])
def test_an_aborted_call_is_a_timeout_unless_it_was_answered(errno: int) -> None:
    """Cutting the connection shows as a loss, but the caller's patience is what ended."""
    error = unavailable(ADDRESS, OperationalError(errno, "x"), aborted=True)
    expected = StoreReason.LOCK_WAIT_TIMEOUT if errno == 1205 else StoreReason.TIMEOUT
    assert error.reason is expected


def test_of_several_hosts_the_gravest_reason_counts() -> None:
    """The message names each host; the reason is what an operator has to put right first."""
    away = unavailable(replace(ADDRESS, host="db1"), ConnectionRefusedError(111, "refused"))
    replica = read_only(replace(ADDRESS, host="db2"), ["read_only"])
    empty = unavailable(replace(ADDRESS, host="db3"), OperationalError(1049, "Unknown database"))
    error = several_unavailable([away, replica, empty])
    assert (error.reason, error.errno) == (StoreReason.MISSING_DATABASE, 1049)
    assert all(f"db{number}:3306/" in str(error) for number in (1, 2, 3))
    assert several_unavailable([away, replica]).reason is StoreReason.READ_ONLY
    assert str(several_unavailable([away])) == str(away)
