"""Segments that were reserved, and wait until no other worker can own any of them."""

from collections.abc import Callable
from dataclasses import dataclass

from idalloc_client.amqp import Callback
from idalloc_worker.counters import Event, Events
from idalloc_worker.marks import Watch
from idalloc_worker.tags import Segment


@dataclass(slots=True, eq=False)
class Claim:
    """A segment, what was heard of its tag since before it was reserved, and who waits for it."""

    watch: Watch
    segment: Segment
    on_done: Callable[[bool], None]


class Claims:
    """Owned by the link's thread.

    `tell` tells all workers of a segment, `echo` waits until this one has read what it was told,
    `hears` says whether that includes what it said itself: if not, it hears nobody else either.
    """

    def __init__(
        self,
        tell: Callable[[str, int, int, Callback], None],
        echo: Callable[[Callback], None],
        hears: Callable[[str, int], bool],
        counters: Events,
    ) -> None:
        self._tell = tell
        self._echo = echo
        self._hears = hears
        self._counters = counters
        self._open: dict[Claim, None] = {}

    def add(self, claim: Claim) -> None:
        """Take one in, which waits."""
        self._open[claim] = None

    def forget(self, claim: object) -> None:
        """Have no further use for the outcome of one."""
        if isinstance(claim, Claim):
            self._open.pop(claim, None)

    def make(self, claim: Claim) -> None:
        """Tell all, then hear all: of two that claim the same, at least one hears the other."""
        self._tell(
            claim.watch.app_tag,
            claim.segment.left,
            claim.segment.right,
            lambda: self._echo(lambda: self._hear_out(claim)),
        )

    def _hear_out(self, claim: Claim) -> None:
        if self._hears(claim.watch.app_tag, claim.segment.left):
            self._end(claim)  # else it waits for another channel

    def do_without(self, claim: Claim) -> None:
        """Use a segment at once: the broker keeps this worker from telling anybody."""
        self._counters[Event.CLAIMS_UNPROTECTED] += 1
        self._end(claim)

    def resume(self, proceed: Callable[[Claim], None]) -> None:
        """Proceed with all that wait."""
        for claim in list(self._open):
            proceed(claim)

    def _end(self, claim: Claim) -> None:
        if claim in self._open:
            del self._open[claim]
            segment = claim.segment
            claim.on_done(not claim.watch.overlaps(segment.left, segment.right))
