"""Who may draw from a tag, whatever is in memory and whoever else waits."""

import pytest

from idalloc_schemas import RespCode, TagState
from idalloc_worker.engine._engine import EngineLimits
from tests.engine_driver import EXHAUSTED, Driver, Row


def driver(users: str | None = "shop billing", step: int = 10, **limits: float) -> Driver:
    """Make an engine and a table with one row, `order`, for some users only."""
    settings = EngineLimits(**limits)  # type: ignore[arg-type]  # counts are ints
    return Driver(settings, rows={"order": Row(step, users=users)})


def test_a_tag_is_open_unless_it_lists_users() -> None:
    """Without a list anybody draws, with a name and without one."""
    d = driver(None)
    assert [d.get(user=user).id for user in (None, "shop", "anybody")] == [1, 2, 3]


def test_a_listed_user_draws() -> None:
    """Each user of the list gets ids from the same counter."""
    d = driver()
    assert [d.get(user=user).id for user in ("shop", "billing", "shop")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("user", "why"), [("intruder", "this user"), (None, "no user_id"), ("Shop", "this user")]
)
@pytest.mark.parametrize("warm", [True, False])
def test_others_are_forbidden_and_use_up_no_id(user: str | None, why: str, *, warm: bool) -> None:
    """Somebody else, and somebody whom the broker does not name, is told so."""
    d = driver()
    if warm:
        assert d.get(user="shop").id == 1
    call = d.get(user=user)
    assert call.code is RespCode.FORBIDDEN
    assert why in call.refusal.msg
    assert call.refusal.retry_after is None
    assert d.get(user="shop").id == 1 + warm


def test_a_cold_tag_reserves_nothing_for_others() -> None:
    """However often they ask, the row stays as it was; it is read once a second at most."""
    d = driver()
    for _ in range(300):
        assert d.get(user="intruder").code is RespCode.FORBIDDEN
        d.advance(0.01)
    assert d.rows["order"].max_id == 0
    assert 2 <= len(d.started) <= 4
    assert d.health().state is TagState.COLD


def test_a_cold_tag_serves_those_who_may_among_those_who_wait() -> None:
    """One refill answers all: ids for some, a refusal for the others, in the order they came."""
    d = driver()
    calls = [d.ask(user=user) for user in ("intruder", "shop", None, "billing")]
    d.settle()
    assert [calls[1].id, calls[3].id] == [1, 2]
    assert [calls[0].code, calls[2].code] == [RespCode.FORBIDDEN] * 2


def test_who_comes_while_a_stranger_is_looked_up_is_served() -> None:
    """The refill that was started for a stranger reserves nothing; one for the other follows."""
    d = driver()
    stranger = d.ask(user="intruder")
    customer = d.ask(user="shop")
    d.reserve()
    assert stranger.code is RespCode.FORBIDDEN
    assert customer.waiting
    assert d.rows["order"].max_id == 0
    d.settle()
    assert customer.id == 1


def test_a_stranger_does_not_stand_in_the_way_of_a_batch() -> None:
    """A batch of a stranger at the front of the queue holds nobody up once the row is known."""
    d = driver()
    stranger, customer = d.ask(count=5000, user="intruder"), d.ask(user="shop")
    d.settle()
    assert stranger.code is RespCode.FORBIDDEN
    assert customer.id == 1


def test_a_refusal_of_one_user_refuses_no_other() -> None:
    """Nothing of a stranger's refusal is remembered against a user of the list."""
    d = driver()
    assert d.get(user="intruder").code is RespCode.FORBIDDEN
    assert d.get(user="shop").id == 1


def test_no_row_is_not_found_for_everybody() -> None:
    """A tag that does not exist has no list of users either."""
    d = driver()
    assert d.get("nobody", user="intruder").code is RespCode.APP_TAG_NOT_FOUND


# Changes while ids are in memory


def test_a_new_user_is_let_in_without_a_refill() -> None:
    """Whoever is refused makes the worker look at the row again, so that a retry finds it open."""
    d = driver(step=1000)
    d.get(user="shop")
    mark = d.rows["order"].max_id
    d.rows["order"].users = "shop billing newcomer"
    d.advance(1)
    assert d.get(user="newcomer").code is RespCode.FORBIDDEN
    assert d.get(user="newcomer").id == 2
    assert d.rows["order"].max_id == mark


def test_a_tag_is_opened_without_a_refill() -> None:
    """The same where the list is removed."""
    d = driver(step=1000)
    d.get(user="shop")
    d.rows["order"].users = None
    d.advance(1)
    d.get()
    assert d.get().id == 2


def test_a_removed_user_is_refused_from_the_next_refill_on() -> None:
    """Until then ids in memory are handed out; then the next request is refused."""
    d = driver(step=5)
    d.get(user="shop")
    d.rows["order"].users = "billing"
    assert [d.ask(user="shop").id for _ in range(3)] == [2, 3, 4]
    d.settle()
    assert d.get(user="shop").code is RespCode.FORBIDDEN
    assert d.get(user="billing").id == 5


def test_a_user_who_is_removed_while_it_waits_is_refused() -> None:
    """A waiting request goes by the row of the refill that was to serve it."""
    d = driver(step=5)
    d.get(user="shop")
    waiting = d.ask(count=50, user="shop")
    d.rows["order"].users = "billing"
    mark = d.rows["order"].max_id
    d.settle()
    assert waiting.code is RespCode.FORBIDDEN
    assert d.rows["order"].max_id == mark
    assert d.get(user="billing").id == 2


def test_a_row_that_is_read_anew_every_second_at_most() -> None:
    """A crowd of strangers at a busy tag costs the database one read a second."""
    d = driver(step=1000)
    d.get(user="shop")
    before = len(d.started)
    for _ in range(300):
        d.get(user="intruder")
        d.advance(0.01)
    assert 2 <= len(d.started) - before <= 4
    assert d.rows["order"].max_id == 2000


def test_a_look_at_the_row_does_not_cost_the_next_refill() -> None:
    """A segment that is used up while the row is looked at is replaced as soon as that is done."""
    d = driver(step=10)
    d.get(user="shop")
    d.advance(1)
    d.ask(user="intruder")
    assert len(d.refills) == 1
    d.ask(count=8, user="shop")
    d.reserve()
    assert len(d.refills) == 1
    d.settle()
    assert d.health().segments == [(10, 20), (20, 30)]


def test_a_stranger_does_not_disturb_an_outage() -> None:
    """While the database is away, looking again keeps to the pauses between failed refills."""
    d = driver(step=1000)
    d.get(user="shop")
    d.advance(1)
    started = len(d.started)
    for _ in range(200):
        d.ask(user="intruder")
        if d.refills:
            d.fail()
        d.advance(0.01)
    assert len(d.started) - started <= 6
    assert isinstance(d.ask(user="shop").outcome, tuple)


def test_a_tag_that_was_deleted_forgets_its_users() -> None:
    """Whoever adds the row again says anew who may draw."""
    d = driver(step=5)
    d.get(user="shop")
    row = d.rows.pop("order")
    d.ask(count=4, user="shop")
    d.settle()
    d.rows["order"] = row
    row.users = None
    d.advance(1)
    assert d.get(user="anybody").id == 10


def test_forbidden_comes_before_exhausted() -> None:
    """A stranger learns nothing about a tag that it may not draw from."""
    d = driver(step=5)
    d.get(user="shop")
    d.ask(count=50, user="shop")
    d.refuse(EXHAUSTED)
    assert d.ask(user="intruder").code is RespCode.FORBIDDEN
    assert d.ask(count=50, user="shop").code is RespCode.EXHAUSTED


def test_a_closing_worker_looks_nothing_up() -> None:
    """Strangers are refused from memory, and no refill starts any more."""
    d = driver()
    d.get(user="shop")
    d.advance(1)
    d.close()
    assert d.ask(user="intruder").code is RespCode.FORBIDDEN
    assert d.refills == []
