"""Shows what both engines of a process hold of a tag as one pool: metrics know each tag once."""

from collections.abc import Iterable, Iterator

from idalloc_worker._pool import TagPool


def merged_pools(plain: Iterable[TagPool], ordered: Iterable[TagPool]) -> Iterator[TagPool]:
    """Walk through the tags as they are now, to look only; the walk may take its time."""
    return _walk(list(plain), {pool.app_tag: pool for pool in ordered})


def _walk(plain: list[TagPool], ordered: dict[str, TagPool]) -> Iterator[TagPool]:
    for pool in plain:
        other = ordered.pop(pool.app_tag, None)
        yield pool if other is None else _sum(pool, other)
    yield from ordered.values()


def _sum(plain: TagPool, ordered: TagPool) -> TagPool:
    """Add up a tag whose row was changed, to ordered or back, while the process ran."""
    later = max((plain, ordered), key=lambda pool: pool.read_at)
    both = TagPool(plain.app_tag)
    both.known = plain.known or ordered.known
    both.settings, both.failures = later.settings, later.failures
    both.mark = max(plain.mark, ordered.mark)
    both.attempt = plain.attempt if ordered.attempt is None else ordered.attempt
    for pool in (plain, ordered):
        both.add_up(pool)
        both.waiters += pool.waiters
    return both
