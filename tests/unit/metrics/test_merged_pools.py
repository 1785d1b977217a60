"""What the metrics see of a tag that is in both engines."""

from idalloc_worker.engine._pool import TagPool
from idalloc_worker.metrics._merged_pools import merged_pools
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings


def pool(name: str, left: int, right: int, *, taken: int = 0, read_at: float = 0.0) -> TagPool:
    made = TagPool(name)
    made.known = True
    made.adopt(TagSettings(step=right - left), read_at)
    made.put(Segment(left, right))
    if taken:
        made.take(taken)
    return made


def by_tag(*pools: TagPool) -> dict[str, TagPool]:
    return {one.app_tag: one for one in pools}


def test_a_tag_that_became_ordered_is_seen_once() -> None:
    """Its counters go on rising: what both did is added up, and the row is as it was seen last."""
    before = pool("order", 1, 101, taken=30, read_at=5.0)
    before.surrender_tail()
    before.gave_back(70)
    after = pool("order", 101, 111, taken=4, read_at=9.0)
    other, owned = pool("other", 1, 11), pool("owned", 1, 21)
    seen = {one.app_tag: one for one in merged_pools(by_tag(before, other), by_tag(after, owned))}
    assert list(seen) == ["order", "other", "owned"]
    assert (seen["other"], seen["owned"]) == (other, owned)
    both = seen["order"]
    assert (both.handed_out, both.reserved, both.lost, both.remaining) == (34, 110, 0, 6)
    assert both.given_back == 70
    assert (both.mark, both.known, both.settings) == (111, True, after.settings)


def test_the_walk_is_through_the_tags_as_they_were() -> None:
    """Tags that come while it goes on do not disturb it."""
    plain, ordered = {"a": pool("a", 1, 11)}, {"b": pool("b", 1, 11)}
    walk = merged_pools(plain, ordered)
    first = next(walk)
    plain["c"] = ordered["d"] = pool("c", 1, 11)
    assert [first, *walk] == [plain["a"], ordered["b"]]
