"""What a worker of very many tags keeps for each, and how few of them one answer describes."""

import gc
import sysconfig
import time
import tracemalloc
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from idalloc_schemas import TagHealth, TagState
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.engine._pool import TagPool
from idalloc_worker.engine._tag_health import LISTED, LISTED_TO_CALLERS, Listing
from idalloc_worker.marks._marks import FleetMarks
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from idalloc_worker.ordered._tags import OrderedTags
from idalloc_worker.rights._health_rights import NOBODY, Viewer
from idalloc_worker.rights._listing import DESCRIBED, LOOKED_AT
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from tests.engine_driver import Driver, OwnerDriver, Row
from tests.runtimes import no_periods, runtime
from tests.vouched import logged_in

OPERATOR = Viewer("operator", operator=True)
TAGS = 3000
MOST_BYTES = 1600 if sysconfig.get_config_var("Py_GIL_DISABLED") else 1400
"""For each tag, of the 2 KiB that a worker may grow by: the rest is for what tracemalloc does not
see, and for what is heard of other workers. Objects are larger where there is no global lock."""


def holding(*names: str) -> Driver:
    d = Driver(rows={name: Row(step=10) for name in names})
    for name in names:
        d.get(name)
    return d


def owning(*names: str) -> OwnerDriver:
    d = OwnerDriver(rows={name: Row(step=10) for name in names})
    for name in names:
        d.get(name)
    return d


def ordered_tags(plain: Engine, ordered: OrderedEngine) -> OrderedTags:
    outside: Any = SimpleNamespace(run=lambda _job: None, on_replied=None)
    around = runtime(refill_threads=outside, clock=time.monotonic)
    parts = (ordered, plain, "worker", around, outside, lambda: None)
    tags = OrderedTags(*parts, logged_in(), no_periods())
    tags._partition_owner = SimpleNamespace(delivered_to=set())  # type: ignore[assignment]  # owns nothing
    return tags


def all_health(
    plain: Driver, ordered: OwnerDriver | None = None, viewer: Viewer = OPERATOR
) -> Listing:
    owner = ordered or owning()
    steps = ordered_tags(plain.engine, owner.engine).listing(viewer)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Listing = end.value
            return found


def warm(engine: Engine, marks: FleetMarks, app_tag: str) -> None:
    """Take an id, and what the refills bring that this causes, as rows read anew."""
    engine.take(app_tag, 1, 0.0, deadline=5.0)
    for number in range(1, 3):
        (refill,) = [effect for effect in engine.effects() if hasattr(effect, "attempt")]
        watch = marks.watch(app_tag)
        segment = Segment(number * 1_000_000, (number + 1) * 1_000_000)
        marks.reserved("me", app_tag, segment.left, segment.right)
        marks.unwatch(watch)
        settings = TagSettings.from_row(app_tag, {"step": 1_000_000, "target_cover": 700})
        engine.segment_arrived(refill.attempt, segment, settings, 1.0)
    engine.effects()
    engine.tick(100.0)  # drops the timers, which are for what has ended


def test_a_tag_takes_little_memory() -> None:
    """All that the engine and the fleet's marks keep of a tag that holds two segments."""
    engine, marks = Engine(EngineLimits()), FleetMarks("me")
    warm(engine, marks, "first")
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(TAGS):
            warm(engine, marks, f"tag-{number}")
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(engine.by_tag) == TAGS + 1
    assert engine.remaining == 2_000_000 * (TAGS + 1) - (TAGS + 1)
    assert (after - before) / TAGS < MOST_BYTES


def test_tags_that_are_set_alike_share_their_settings() -> None:
    """Of rows that are read again and again, too."""
    row = {"step": 100, "max_step": 1000, "target_cover": 60, "allowed_users": "a b"}
    first, second = TagSettings.from_row("one", row), TagSettings.from_row("two", dict(row))
    assert first is second
    assert TagSettings.from_row("one", row | {"step": 200}) == TagSettings(
        step=200, max_step=1000, target_cover=60.0, allowed_users=frozenset("ab")
    )


def test_nobody_who_waited_is_kept() -> None:
    """The queue of a tag is there as long as somebody waits."""
    d = Driver(rows={"order": Row(step=10)})
    calls = [d.ask(count=3) for _ in range(4)]
    d.settle()
    assert not any(call.waiting for call in calls)
    assert d.engine.by_tag["order"]._waiters is None


def test_health_lists_the_first_tags_and_adds_up_all() -> None:
    """In the order of their names, whatever the order in which they came."""
    names = [f"tag-{number:04}" for number in range(LISTED + 200)]
    d = holding(*reversed(names))
    found = all_health(d)
    assert [tag.app_tag for tag in found.tags] == names[:LISTED]
    assert found.total == len(names)
    assert found.remaining == d.engine.remaining > sum(tag.left for tag in found.tags)


def test_health_counts_a_tag_once_that_was_in_both_engines() -> None:
    """It was ordered after it had been used, or the other way round; its ids add up."""
    names = [f"tag-{number:04}" for number in range(LISTED)]
    plain = holding(*names[::2], "tag-0001")
    ordered = owning(*names[1::2], "zzz")
    found = all_health(plain, ordered)
    assert [tag.app_tag for tag in found.tags] == names
    assert found.total == LISTED + 1
    assert found.remaining == plain.engine.remaining + ordered.engine.remaining
    both = found.tags[1]
    assert (both.left, both.ids_handed_out, both.state) == (36, 2, TagState.STANDBY)


def test_a_caller_is_told_of_fewer_tags() -> None:
    """Anybody may ask; all are added up for it, too."""
    names = [f"tag-{number:04}" for number in range(3 * LISTED_TO_CALLERS)]
    found = all_health(holding(*reversed(names)), viewer=NOBODY)
    assert [tag.app_tag for tag in found.tags] == names[:LISTED_TO_CALLERS]
    assert found.total == len(names)


@pytest.mark.parametrize(
    ("viewer", "listed"),
    [
        (NOBODY, ["all"]),
        (Viewer("billing"), ["all", "bills"]),
        (Viewer("shop"), ["all", "carts", "orders"]),
        (OPERATOR, ["all", "bills", "carts", "orders"]),
    ],
)
def test_nobody_hears_of_tags_that_are_for_others(viewer: Viewer, listed: list[str]) -> None:
    """Not by their names, and not in a sum: also of those that are ordered, or are both."""
    rows = {"all": None, "bills": "billing", "carts": "shop", "orders": "shop till"}
    plain = Driver(rows={tag: Row(step=10, users=users) for tag, users in rows.items()})
    ordered = OwnerDriver(rows={"carts": Row(step=10, users="shop")})
    for tag, users in rows.items():
        plain.get(tag, user=users and users.split()[0])
    ordered.get("carts", user="shop")
    found = all_health(plain, ordered, viewer)
    assert [tag.app_tag for tag in found.tags] == listed
    assert (found.total, found.remaining) == (len(listed), sum(tag.left for tag in found.tags))


def test_health_of_one_tag_is_a_list_of_one() -> None:
    """Its `left` is that of the tag, not of the worker."""
    d = holding("order", "other")
    found = ordered_tags(d.engine, owning().engine).health(d.now, "order")
    assert isinstance(found, Listing)
    assert (found.total, found.remaining, len(found.tags)) == (1, 18, 1)


def test_no_turn_looks_at_more_than_a_slice_of_the_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: between two pauses there is as much work as for a few."""
    names = [f"tag-{number:04}" for number in range(4 * LOOKED_AT)]
    plain, ordered = holding(*names), owning(*names[: LOOKED_AT + 1])
    work, turns = Counter[str](), list[Counter[str]]()
    monkeypatch.setattr(TagPool, "remaining", property(lambda _pool: work.update(["looked"]) or 1))
    monkeypatch.setattr(
        "idalloc_worker.ordered._tags.describe",
        lambda pool, _now: work.update(["described"]) or TagHealth(app_tag=pool.app_tag, state="s"),
    )
    steps = ordered_tags(plain.engine, ordered.engine).listing(OPERATOR)
    for _ in steps:
        turns.append(Counter(work))
        work.clear()
    assert max(turn["looked"] for turn in turns) <= LOOKED_AT
    assert max(turn["described"] for turn in turns) <= 2 * DESCRIBED  # of either engine
    assert sum(turn["looked"] for turn in turns) == 5 * LOOKED_AT + 1
