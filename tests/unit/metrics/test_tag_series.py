"""Which tags have series, and that every counter only rises whatever changes place."""

from collections import Counter
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_schemas import MAX_ID
from idalloc_worker.engine._pool import TagPool
from idalloc_worker.metrics._rates import Rates
from idalloc_worker.metrics._snapshot import TagSnapshot
from idalloc_worker.metrics._tag_series import TagSeries, cover_seconds, space_share
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings

SCRAPE = 15.0
_COUNTERS = ("handed_out", "reserved", "lost", "given_back")


def tag_pool(name: str, ids: int = 10**6, *, known: bool = True) -> TagPool:
    pool = TagPool(name)
    pool.known = known
    if known:
        pool.put(Segment(1, ids + 1))
    return pool


def look(series: TagSeries, pools: list[TagPool], now: float) -> dict[str | None, TagSnapshot]:
    series.begin(now)
    for pool in pools:
        series.look(pool)
    tags = series.end()
    by_name = {tag.tag: tag for tag in tags}
    assert len(by_name) == len(tags)
    return by_name


@pytest.mark.parametrize(
    ("mark", "ceiling", "share"),
    [(0, None, 0), (MAX_ID, None, 1), (2**62, None, 0.5), (800, 999, 0.8), (9, 4, 1)],
)
def test_the_share_of_the_space(mark: int, ceiling: int | None, share: float) -> None:
    """The share of the ids up to the tag's ceiling, never above 1."""
    pool = TagPool("order")
    pool.mark = mark
    pool.settings = TagSettings(step=1, ceiling=ceiling)
    assert space_share(pool) == pytest.approx(share)


@pytest.mark.parametrize(
    ("left", "rate", "cover"),
    [(100, 10, 10), (0, 5, 0), (100, 0, None), (0, 0, None), (10**18, 1, 86_400)],
)
def test_cover(left: int, rate: float, cover: float | None) -> None:
    """Ids left over ids per second; a tag that is not in use has none, and a day is enough."""
    assert cover_seconds(left, rate) == cover


def test_a_rate_is_measured_from_look_to_look() -> None:
    """A steady load is measured exactly, at once; a change shows over half a minute."""
    pool, rates = tag_pool("order"), Rates(100.0)
    pool.take(1500)
    rates.begin_look(115.0)
    assert rates.of(pool) == 100
    pool.take(1500)
    rates.begin_look(130.0)
    assert rates.of(pool) == pytest.approx(100)
    rates.begin_look(145.0)
    once = rates.of(pool)
    rates.begin_look(160.0)
    assert 0 < rates.of(pool) < once < 100


def test_looks_that_come_together_share_a_measurement() -> None:
    """Two scrapers do not make the rate jump: the one that comes just after sees the same."""
    pool, rates = tag_pool("order"), Rates(0.0)
    pool.take(1000)
    rates.begin_look(10.0)
    assert rates.of(pool) == 100
    pool.take(50)
    rates.begin_look(10.01)
    assert rates.of(pool) == 100


def test_names_that_are_no_tags_have_no_series() -> None:
    """Any number of names can be made up: they are only counted as waiting."""
    unknown = tag_pool("made-up", known=False)
    series = TagSeries(0.0, places=1)
    assert list(look(series, [unknown, tag_pool("real")], SCRAPE)) == ["real"]
    assert series.held == 1


def test_the_busiest_tags_get_the_places() -> None:
    """A tag that becomes far busier takes the place of the quietest one, from the next look on."""
    quiet, busy, late = pools = [tag_pool("quiet"), tag_pool("busy"), tag_pool("late")]
    series = TagSeries(0.0, places=2)
    quiet.take(10)
    busy.take(10_000)
    assert set(look(series, pools, SCRAPE)) == {"quiet", "busy", None}
    late.take(5000)
    at_the_change = look(series, pools, 2 * SCRAPE)
    assert at_the_change[None].handed_out == 5000
    late.take(7)
    after = look(series, pools, 3 * SCRAPE)
    assert set(after) == {"late", "busy", None}
    assert after["late"].handed_out == 7, "what it counted before stays with the others"
    assert after[None].handed_out == 5000


@given(
    rounds=st.lists(
        st.dictionaries(st.integers(0, 9), st.integers(1, 5000), max_size=10), max_size=25
    ),
    places=st.integers(1, 4),
)
def test_counters_only_rise(rounds: list[dict[int, int]], places: int) -> None:
    """No series falls while it lasts, all growth is counted once, and the places are kept."""
    pools = [tag_pool(f"tag-{number}") for number in range(10)]
    series = TagSeries(0.0, places)
    previous: dict[str | None, TagSnapshot] = {}
    grown: Counter[str] = Counter()
    for number, draws in enumerate(rounds, 1):
        for tag, count in draws.items():
            pools[tag].take(count)
            pools[tag].lose(count // 2)
            pools[tag].gave_back(count // 3)
        tags = look(series, pools, number * SCRAPE)
        assert len(tags) <= places + 1
        for name, tag_now in tags.items():
            before = previous.get(name)
            for field in _COUNTERS:
                rise = getattr(tag_now, field) - (getattr(before, field) if before else 0)
                assert rise >= 0, (name, field)
                grown[field] += rise
        assert series.totals == tuple(grown[field] for field in _COUNTERS)
        previous = tags


def test_the_others_show_their_worst() -> None:
    """Of the tags without series, the least cover and the most failures count."""
    pools = [tag_pool("named"), tag_pool("short", 1000), tag_pool("long")]
    series = TagSeries(0.0, places=1)
    for pool in pools:
        pool.take(900)
    pools[1].failures = 3
    rest = look(series, pools, SCRAPE)[None]
    assert rest.failures == 3
    assert rest.cover == pytest.approx(100 / 60)
    assert rest.left == 100 + 10**6 - 900
    assert (rest.cover or inf) < SCRAPE
