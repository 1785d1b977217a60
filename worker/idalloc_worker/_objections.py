"""Objects where another worker claims ids that this one has: the row was set back, unnoticed."""

import logging
from collections import Counter
from collections.abc import Callable

from idalloc_schemas import Reserved
from idalloc_worker._effects import Range

_log = logging.getLogger("idalloc.fleet")


class Objections:
    """Owned by the link's thread.

    `give_up` drops what this worker holds of a tag if a range overlaps that, and tells what it
    had; `tell` tells all workers of a segment.
    """

    def __init__(
        self,
        give_up: Callable[[str, int, int], Range | None],
        tell: Callable[[str, int, int, Callable[[], None]], None],
        counters: Counter[str],
    ) -> None:
        self._give_up = give_up
        self._tell = tell
        self._counters = counters

    def heard(self, claim: Reserved) -> None:
        """Take a claim of another worker.

        Each of the two gives up what it has of the tag in memory: nobody can tell here which of
        the ids the other one has handed out.
        """
        ours = self._give_up(claim.app_tag, claim.left, claim.right)
        if ours is None:
            return
        self._counters["overlaps_heard"] += 1
        _log.error(
            "Ids of %s may have gone out twice: another worker has reserved [%d, %d), and this "
            "one has had [%d, %d). Both give up what they hold of it; docs/correctness.md",
            claim.app_tag,
            claim.left,
            claim.right,
            *ours,
        )
        self._tell(claim.app_tag, *ours, lambda: None)
