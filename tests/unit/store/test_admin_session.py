"""What the command line sends is repeated where another session was faster, and only there."""

from collections.abc import Callable

import pytest
from pymysql.err import OperationalError

from idalloc_worker.mysql import _host_choice
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from tests.fake_mysql import FakeMySql

RAISE = (
    "UPDATE `segments` SET max_id = %(max_id)s "
    "WHERE app_tag = %(app_tag)s AND CAST(app_tag AS BINARY) = CAST(%(app_tag)s AS BINARY)"
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeMySql:
    made = FakeMySql(order=0)
    monkeypatch.setattr(_host_choice, "open_connection", made.connect)
    return made


def raise_tag(server: FakeMySql, before: Callable[[str], None]) -> int:
    with AdminSession(MySqlAddress.parse("mysql://u@one/db")) as session:
        server.before = before
        return session.change(RAISE, {"app_tag": "order", "max_id": 50})


def failing(errno: int, times: int) -> Callable[[str], None]:
    """Have the first statements end with an error."""
    left = iter(range(times))

    def before(_: str) -> None:
        if next(left, None) is not None:
            raise OperationalError(errno, "the server's words")

    return before


def test_a_change_that_lost_against_another_is_made_again(server: FakeMySql) -> None:
    """Where several nodes take writes that is no fault, and nothing to bother anybody with."""
    assert raise_tag(server, failing(1213, 3)) == 1
    assert server.rows["order"]["max_id"] == 50


def test_one_that_always_loses_is_told(server: FakeMySql) -> None:
    """In the end."""
    with pytest.raises(StoreUnavailableError) as raised:
        raise_tag(server, failing(1213, 1000))
    assert raised.value.reason is StoreReason.DEADLOCK
    assert server.sent("UPDATE") < 20


@pytest.mark.parametrize("errno", [1180, 1205, 2013])
def test_nothing_else_is_repeated(server: FakeMySql, errno: int) -> None:
    """A lock, and a change that may have been made."""
    with pytest.raises(StoreUnavailableError):
        raise_tag(server, failing(errno, 1))
    assert server.sent("UPDATE") == 1
