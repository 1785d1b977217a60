"""Who is an operator, and whose list is told to whom."""

import pytest

from idalloc_schemas import RespCode
from idalloc_worker.rights._health_rights import NOBODY, HealthRights, Viewer
from tests.engine_driver import NOT_FOUND, Driver, Row
from tests.vouched import logged_in


@pytest.mark.parametrize(
    ("user", "operator"),
    [("worker", True), ("carol", True), ("Carol", False), ("caller", False), (None, False)],
)
def test_operators_are_listed_or_log_in_as_workers_do(user: str | None, operator: bool) -> None:  # noqa: FBT001
    rights = HealthRights(logged_in("worker"), ["carol"])
    assert rights.viewer(user) == Viewer(user, operator)


def test_a_worker_that_logs_in_without_a_name_makes_nobody_an_operator() -> None:
    """With a certificate, say: its operators are those that are listed."""
    rights = HealthRights(logged_in(None))
    assert rights.viewer(None) == NOBODY


def test_users_that_no_tag_is_for_are_told_the_same() -> None:
    """However many they are, it is one answer."""
    assert Viewer("alice").among({"bob"}) == Viewer(None).among({"bob"}) == NOBODY
    assert Viewer("bob").among({"bob"}) == Viewer("bob")
    assert Viewer("a", operator=True).among(()) == Viewer("b", operator=True).among({"b"})
    assert Viewer("a", operator=True).among({"a"}) != NOBODY


def test_what_a_tag_came_to_is_told_to_the_same_when_its_row_is_gone() -> None:
    """Who adds it again says anew who may draw."""
    d = Driver(rows={"order": Row(step=2, users="shop")})
    d.get(user="shop")
    del d.rows["order"]
    d.get(count=9, user="shop")
    pool = d.engine.by_tag["order"]
    assert pool.refusal == NOT_FOUND
    assert pool.refusal.code is RespCode.APP_TAG_NOT_FOUND
    assert not NOBODY.sees([pool])
    assert Viewer("shop").sees([pool, None])
