"""Lists all tags of a worker a slice at a time, so that no request waits for longer than one slice.

To look at a hundred thousand tags takes a tenth of a second, in which nobody would be answered.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final

from idalloc_schemas import TagHealth
from idalloc_worker._pool import TagPool
from idalloc_worker._tag_health import LISTED, Listing

LOOKED_AT: Final = 1000
"""Tags in a slice of those that are counted."""

DESCRIBED: Final = 100
"""Tags in a slice of those that are described, which takes longer."""

Steps = Generator[None, None, Listing]


def listing(
    plain: Mapping[str, TagPool],
    ordered: Mapping[str, TagPool],
    describe: Callable[[str], TagHealth | None],
) -> Steps:
    """Describe the first tags in the order of their names, and count all; it pauses at each yield.

    Each slice tells what is so when its turn comes. `describe` has nothing to say of a tag that
    is gone.
    """
    count = _Count(plain, ordered)
    pools = [*plain.values(), *ordered.values()]
    while pools:
        count.look(pools[-LOOKED_AT:])
        del pools[-LOOKED_AT:]  # to let go of all at once takes its time, too
        if pools:
            yield
    names, tags = count.first(), list[TagHealth]()
    for start in range(0, len(names), DESCRIBED):
        if start:
            yield
        described = map(describe, names[start : start + DESCRIBED])
        tags += [tag for tag in described if tag is not None]
    return Listing(tags, count.total, count.left)


class _Count:
    """What is known of the tags that were looked at."""

    def __init__(self, plain: Mapping[str, TagPool], ordered: Mapping[str, TagPool]) -> None:
        self._plain = plain
        self._ordered = ordered
        self.left = 0
        self.total = 0
        self._names: list[str] = []
        self._last: str | None = None

    def look(self, pools: Sequence[TagPool]) -> None:
        """Add up some tags, and keep those that may be among the first."""
        self.left += sum(pool.left for pool in pools)
        self.total += len(pools)
        if self._ordered:
            self.total -= sum(map(self._seen_before, pools))
        last = self._last
        self._names += [pool.app_tag for pool in pools if last is None or pool.app_tag <= last]
        if len(self._names) > 2 * LISTED:
            self._names = self.first()
            self._last = self._names[-1] if len(self._names) == LISTED else None

    def _seen_before(self, pool: TagPool) -> bool:
        """Whether it is the second one of a tag that is in both engines, which counts once."""
        return pool.app_tag in self._plain and self._ordered.get(pool.app_tag) is pool

    def first(self) -> list[str]:
        """Tell the names of the first, each once."""
        return sorted(set(self._names))[:LISTED]
