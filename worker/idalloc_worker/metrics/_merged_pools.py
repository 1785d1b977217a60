"""Shows what both engines of a process hold of a tag as one pool: metrics know each tag once."""

from collections.abc import Iterator, Mapping

from idalloc_worker.engine import TagPool


def merged_pools(
    unordered: Mapping[str, TagPool], ordered: Mapping[str, TagPool]
) -> Iterator[TagPool]:
    """Walk through the tags as they are now, to look only; the walk may take its time.

    To begin takes next to none, whatever the number of tags.
    """
    return _walk(list(unordered.values()), ordered, list(ordered.values()))


def _walk(
    unordered: list[TagPool], by_tag: Mapping[str, TagPool], ordered: list[TagPool]
) -> Iterator[TagPool]:
    summed = set[str]()
    for pool in unordered:
        other = by_tag.get(pool.app_tag)
        if other is None:
            yield pool
        else:
            summed.add(pool.app_tag)
            yield _sum(pool, other)
    yield from (pool for pool in ordered if pool.app_tag not in summed)


def _sum(unordered: TagPool, ordered: TagPool) -> TagPool:
    """Add up a tag whose row was changed, to ordered or back, while the process ran."""
    later = max((unordered, ordered), key=lambda pool: pool.read_at)
    both = TagPool(unordered.app_tag)
    both.known = unordered.known or ordered.known
    both.settings, both.failures = later.settings, later.failures
    both.mark = max(unordered.mark, ordered.mark)
    both.attempt = unordered.attempt if ordered.attempt is None else ordered.attempt
    for pool in (unordered, ordered):
        both.add_up(pool)
        both.waiters += pool.waiters
    return both
