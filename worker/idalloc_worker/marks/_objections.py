"""Objects where another worker claims ids that this one has: the row was set back, unnoticed."""

import logging
from collections.abc import Callable

from idalloc_schemas import Reserved, Surrendered
from idalloc_worker.counters import Event, Events
from idalloc_worker.engine import Range

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
        counters: Events,
    ) -> None:
        self._give_up = give_up
        self._tell = tell
        self._counters = counters
        self._read: dict[tuple[str, str], list[Reserved]] = {}

    def read(self, message: Reserved | Surrendered) -> None:
        """Note what another worker said while this one did not hear it, in the order it was said.

        What it claimed and surrendered again is no overlap: somebody else may have it by now.
        """
        claims = self._read.setdefault((message.worker, message.app_tag), [])
        if isinstance(message, Surrendered):
            claims[:] = [rest for claim in claims if (rest := _without(claim, message))]
        else:
            claims.append(message)

    def read_out(self) -> None:
        """Take what was claimed meanwhile: all of it was read."""
        read, self._read = self._read, {}
        for claims in read.values():
            for claim in claims:
                self.heard(claim)

    def heard(self, claim: Reserved) -> None:
        """Take a claim of another worker.

        Each of the two gives up what it has of the tag in memory: nobody can tell here which of
        the ids the other one has handed out.
        """
        ours = self._give_up(claim.app_tag, claim.left, claim.right)
        if ours is None:
            return
        self._counters[Event.OVERLAPS_HEARD] += 1
        _log.error(
            "Ids of %s may have gone out twice: another worker has reserved [%d, %d), and this "
            "one has had [%d, %d). Both drop what they hold of it: docs/correctness.md",
            claim.app_tag,
            claim.left,
            claim.right,
            *ours,
        )
        self._tell(claim.app_tag, *ours, lambda: None)


def _without(claim: Reserved, tail: Surrendered) -> Reserved | None:
    """Tell what is left of a claim that the same worker has made."""
    if claim.right <= tail.left or tail.right < claim.right:
        return claim
    return claim.model_copy(update={"right": tail.left}) if claim.left < tail.left else None
