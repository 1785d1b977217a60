"""How many ids one user may draw: in one request, and in a second."""

from dataclasses import dataclass

import pytest

from idalloc_schemas import MAX_ID, RespCode
from idalloc_worker.engine._effects import Refused
from idalloc_worker.engine._engine import EngineLimits
from idalloc_worker.tags._allowance import FEW, Allowance, DrawLimits
from idalloc_worker.tags._settings import TagSettings
from tests.engine_driver import Call, Driver, OwnerDriver, Row

SMALL_SPACE = 2**31 - 1
MILLION = 1_000_000


@dataclass
class Limited(Row):
    """A row with limits of its own."""

    max_count: int | None = None
    user_rate: int | None = None

    @property
    def settings(self) -> TagSettings:
        return TagSettings(
            step=self.step,
            target_cover=0.0,
            ceiling=self.ceiling,
            max_count=self.max_count,
            user_rate=self.user_rate,
        )


def driver(
    step: int = 1000, ceiling: int | None = SMALL_SPACE, user_rate: int | None = None
) -> Driver:
    """Make an engine and a table with one row, `order`, from which a first id was drawn."""
    d = Driver(rows={"order": Limited(step, ceiling=ceiling, user_rate=user_rate)})
    d.get(user="shop")
    return d


def drawn(d: Driver, count: int, seconds: float, user: str | None = "greedy") -> int:
    """Ask again and again for so long, always when the last answer says; tell what came of it."""
    ids, end = 0, d.now + seconds
    for _ in range(20_000):
        if d.now >= end:
            return ids
        call = d.get(count=count, user=user)
        if isinstance(call.outcome, tuple):
            ids += count
            continue
        assert call.code is RespCode.BUSY
        assert call.refusal.retry_after is not None
        d.advance(call.refusal.retry_after)
    raise AssertionError("it is never refused")


def overdraw(d: Driver, user: str | None = "greedy") -> Call:
    """Have a user draw batches until it gets no more; give the refusal."""
    for _ in range(100):
        if not isinstance((call := d.get(count=MILLION, user=user)).outcome, tuple):
            break
    assert call.code is RespCode.BUSY
    return call


@pytest.mark.parametrize(("count", "seconds"), [(MILLION, 3600), (10_000, 100), (FEW, 3)])
def test_one_user_needs_most_of_a_day_for_a_small_space(count: int, seconds: float) -> None:
    """What it draws at most is its share of a day, and what it had saved up."""
    d = driver()
    most = (seconds + 60) * SMALL_SPACE / 86_400 + 2 * count
    assert 0 < drawn(d, count, seconds) <= most
    assert d.rows["order"].max_id <= most + 3 * MILLION


def test_it_goes_on_at_the_rate_of_the_tag() -> None:
    """It is refused for no longer than it must be: in a minute it draws what a minute allows."""
    d = driver(user_rate=20_000)
    drawn(d, 100_000, 100.0)
    assert drawn(d, 100_000, 600.0) == pytest.approx(600 * 20_000, rel=0.05)


def test_a_retry_at_the_time_that_was_told_succeeds() -> None:
    """And one just before it does not."""
    d = driver()
    wait = overdraw(d).refusal.retry_after
    assert wait is not None
    d.advance(wait - 0.01)
    assert d.get(count=MILLION, user="greedy").code is RespCode.BUSY
    d.advance(0.01)
    assert d.get(count=MILLION, user="greedy").ranges


def test_who_waits_in_line_is_charged_too() -> None:
    """A cold tag has no limits yet; those who wait for its first ids are not served all of it."""
    d = Driver(rows={"order": Limited(1000, ceiling=SMALL_SPACE)})
    calls = [d.ask(count=MILLION, user="greedy") for _ in range(1000)]
    honest = d.ask(user="shop")
    d.settle()
    served = [call for call in calls if isinstance(call.outcome, tuple)]
    assert 1 <= len(served) <= 5
    assert {call.code for call in calls if call not in served} == {RespCode.BUSY}
    assert honest.ranges


@pytest.mark.parametrize("user", ["shop", None])
def test_others_do_not_pay_for_it(user: str | None) -> None:
    """Neither another user nor those whom nobody vouches for."""
    d = driver()
    overdraw(d)
    assert d.get(count=MILLION, user=user).ranges


def test_single_ids_go_on_beside_batches_of_the_same_user() -> None:
    """An application that has overdrawn with batches still gets ids one at a time."""
    d = driver()
    overdraw(d, "shop")
    assert d.get(count=FEW + 1, user="shop").code is RespCode.BUSY
    assert d.get(user="shop").ranges


def test_nobody_is_counted_where_the_space_is_huge() -> None:
    """As much as a process could ever hand out changes nothing there, so nothing is kept of it."""
    d = driver(step=MILLION, ceiling=None)
    for _ in range(500):
        assert d.get(count=MILLION, user="greedy").ranges
    pool = d.engine.by_tag["order"]
    assert pool.allowance is None
    assert pool.unmetered == pool.max_count == MILLION


def test_single_ids_are_not_counted_where_only_batches_could_matter() -> None:
    """They take the short way, as on a tag without a ceiling."""
    d = driver(ceiling=2**50)
    pool = d.engine.by_tag["order"]
    assert pool.unmetered == FEW
    assert [d.get(count=count, user="shop").ranges for count in (1, FEW)]
    assert pool.allowance is not None
    assert len(pool.allowance) == 0


def test_a_small_tag_is_not_held_up() -> None:
    """A thousand ids may be drawn at once, to the last: a rate does not defend so few."""
    d = driver(step=10, ceiling=999)
    assert [d.get(user="shop").id for _ in range(998)] == list(range(2, 1000))
    assert d.get(user="shop").code is RespCode.EXHAUSTED


def test_one_request_gets_a_part_of_the_rest() -> None:
    """More is refused for good, and says how much would do; the worker's own limit goes first."""
    d = driver(ceiling=1_000_000)
    call = d.get(count=200_000, user="shop")
    assert call.code is RespCode.INVALID_REQUEST
    assert "must be at most 99999 for this app_tag" in call.refusal.msg
    assert d.get(count=99_999, user="shop").ranges
    assert "1000000 on this worker" in d.get(count=MILLION + 1).refusal.msg


def test_limits_of_the_row() -> None:
    """Also for those who wait, and from the next refill on."""
    d = Driver(rows={"order": Limited(10, max_count=50, user_rate=1)})
    waiting = [d.ask(count=count, user="shop") for count in (51, 50)]
    d.settle()
    assert "at most 50" in waiting[0].refusal.msg
    assert waiting[1].ranges
    assert d.get(count=51, user="shop").code is RespCode.INVALID_REQUEST
    codes = [d.get(count=50, user="shop").outcome for _ in range(100)]
    assert isinstance(codes[-1], Refused)
    assert codes[-1].code is RespCode.BUSY
    d.rows["order"].user_rate = None  # type: ignore[attr-defined]
    d.get(count=50, user="other")
    d.advance(60.0)
    assert all(d.get(count=50, user="shop").ranges for _ in range(100))


def test_an_ordered_tag_has_the_same_limits() -> None:
    """The owner of its partition counts by user."""
    d = OwnerDriver(rows={"order": Limited(1000, ceiling=SMALL_SPACE)})
    d.get(user="shop")
    assert drawn(d, MILLION, 60.0) < 10 * MILLION
    assert d.get(user="shop").ranges


def test_buckets_are_few() -> None:
    """Past so many users of a tag the rest share two; who owes nothing any more is forgotten."""
    allowance = Allowance(rate=10.0)
    for number in range(1000):
        allowance.charge(f"user-{number}", 10_000, 0.0)
    assert len(allowance) <= 132
    assert allowance.debt("user-999", 10_000, 1.0) > 100 * allowance.debt("user-1", 10_000, 1.0)
    allowance.charge("late", 10, 10.0**9)
    assert len(allowance) == 1


@pytest.mark.parametrize(
    ("step", "space", "max_count", "rate"),
    [
        (1000, 2**31, MILLION, 2**31 / 86_400),
        (100_000, 2**31, MILLION, 100_000),  # a step a second
        (100_000, 1_000_000, 100_000, 1_000_000 / 3600),  # but not the rest in less than an hour
        (10, 50, 1000, 100),
        (1, MAX_ID, MILLION, MAX_ID / 86_400),
    ],
)
def test_default_limits(step: int, space: int, max_count: int, rate: float) -> None:
    """They follow the step and what is left."""
    limits = DrawLimits.of(TagSettings(step=step), space, EngineLimits().max_count)
    assert limits.max_count == max_count
    assert limits.rate == pytest.approx(rate)
