"""Lists the tags of a worker a slice at a time, so that no request waits for longer than one slice.

To look at a hundred thousand tags takes a tenth of a second, in which nobody would be answered.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Final

from idalloc_schemas import TagHealth
from idalloc_worker.engine import LISTED, LISTED_TO_CALLERS, Listing, TagPool
from idalloc_worker.rights._health_rights import Viewer

LOOKED_AT: Final = 1000
"""Tags in a slice of those that are counted."""

DESCRIBED: Final = 50
"""Tags in a slice of those that are described, which takes longer."""

Steps = Generator[None, None, Listing]


def listing(
    unordered: Mapping[str, TagPool],
    ordered: Mapping[str, TagPool],
    describe: Callable[[str], TagHealth | None],
    viewer: Viewer,
) -> Steps:
    """Describe the first tags in the order of their names, and count all; it pauses at each yield.

    All are those that the viewer may be told of. Each slice tells what is so when its turn comes.
    `describe` has nothing to say of a tag that is gone.
    """
    count = _Count(unordered, ordered, viewer)
    for pools in _slices(unordered, ordered):
        count.look(pools)
        yield
    names, tags = count.first(), list[TagHealth]()
    for start in range(0, len(names), DESCRIBED):
        if start:
            yield
        described = map(describe, names[start : start + DESCRIBED])
        tags += [tag for tag in described if tag is not None]
    return Listing(tags, count.total, count.remaining)


def named_users(
    unordered: Mapping[str, TagPool], ordered: Mapping[str, TagPool]
) -> Generator[None, None, set[str]]:
    """Name the users that some tag is for, so that others are told something else of it."""
    named = set[str]()
    for pools in _slices(unordered, ordered):
        for pool in pools:
            named.update(pool.allowed_users or ())
        yield
    return named


def _slices(
    unordered: Mapping[str, TagPool], ordered: Mapping[str, TagPool]
) -> Iterator[Sequence[TagPool]]:
    pools = [*unordered.values(), *ordered.values()]
    while pools:
        yield pools[-LOOKED_AT:]
        del pools[-LOOKED_AT:]  # to let go of all at once takes its time, too


class _Count:
    """What is known of the tags that were looked at."""

    def __init__(
        self, unordered: Mapping[str, TagPool], ordered: Mapping[str, TagPool], viewer: Viewer
    ) -> None:
        self._unordered = unordered
        self._ordered = ordered
        self._viewer = viewer
        self._listed = LISTED if viewer.operator else LISTED_TO_CALLERS
        self.remaining = 0
        self.total = 0
        self._names: list[str] = []
        self._last: str | None = None

    def look(self, pools: Sequence[TagPool]) -> None:
        """Add up some tags, and keep those that may be among the first."""
        pools = [pool for pool in pools if self._visible(pool)]
        self.remaining += sum(pool.remaining for pool in pools)
        self.total += len(pools)
        if self._ordered:
            self.total -= sum(map(self._seen_before, pools))
        last = self._last
        self._names += [pool.app_tag for pool in pools if last is None or pool.app_tag <= last]
        if len(self._names) > 2 * self._listed:
            self._names = self.first()
            self._last = self._names[-1] if len(self._names) == self._listed else None

    def _visible(self, pool: TagPool) -> bool:
        if self._viewer.operator:
            return True
        tag = pool.app_tag
        return self._viewer.sees((self._unordered.get(tag), self._ordered.get(tag)))

    def _seen_before(self, pool: TagPool) -> bool:
        """Whether it is the second one of a tag that is in both engines, which counts once."""
        return pool.app_tag in self._unordered and self._ordered.get(pool.app_tag) is pool

    def first(self) -> list[str]:
        """Tell the names of the first, each once."""
        return sorted(set(self._names))[: self._listed]
