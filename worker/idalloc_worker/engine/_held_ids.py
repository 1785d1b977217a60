"""The ids of one tag in memory: which are left, and how many went which way."""

from collections.abc import Iterator

from idalloc_worker.engine._effects import Range, Ranges
from idalloc_worker.tags import Segment

SEGMENTS_WANTED = 2
"""A double buffer: one segment to hand out from, one to go on with."""


class HeldIds:
    """Bookkeeping without decisions; owned by the thread of its engine.

    The engine takes most ids by itself, by moving `next` on below `open_end`: with `take`
    the engine would need five times as long, measured. So nothing else is written for each id:
    `remaining` and `handed_out` are worked out from `next`.

    A worker may have a hundred thousand of these, so they hold no containers of their own: an empty
    deque takes up more than all the rest.
    """

    __slots__ = (
        "_closed",
        "_later",
        "_origin",
        "_start",
        "_total",
        "_used_to",
        "end",
        "full",
        "given_back",
        "lost",
        "next",
        "open_end",
        "reserved",
    )

    def __init__(self) -> None:
        self.next = 0  # the lowest id in memory, if it lies below `end`
        self.end = 0  # of the segment that is handed out from
        self.open_end = 0  # below it whoever asks may take; 0 while the door is closed
        self._later: Ranges = ()  # the segments to go on with: seldom more than one
        self._total = 0  # `next` and all that is left
        self._origin = 0  # `next`, less all that was handed out
        self._start = 0  # where the segment began that is handed out from
        self._used_to = 0  # the end of what was handed out of earlier segments
        self._closed = False
        self.full = False  # whether as many segments are held as are wanted
        self.reserved = self.lost = self.given_back = 0

    @property
    def remaining(self) -> int:
        """How many ids are in memory."""
        return self._total - self.next

    @property
    def handed_out(self) -> int:
        """How many ids went to callers."""
        return self.next - self._origin

    def held(self) -> Iterator[Range]:
        """Walk through what is left, lowest ids first."""
        if self.next < self.end:
            yield self.next, self.end
        yield from self._later

    def close_door(self, *, closed: bool) -> None:
        """Have each request looked at before it may take, or let all take that ask."""
        self._closed = closed
        self.open_end = 0 if closed else self.end

    def add(self, segment: Segment) -> None:
        """Take in ids above all that are held."""
        if segment.left < segment.right:
            self._later = (*self._later, (segment.left, segment.right))
            self._total += segment.size
            self.reserved += segment.size
        self._settle()

    def take(self, count: int) -> Ranges:
        """Remove the lowest `count` ids; the caller has made sure that they are there."""
        ranges: list[Range] = []
        while count:
            left = self.next
            right = self.next = min(left + count, self.end)
            count -= right - left
            self._settle()
            if ranges and ranges[-1][1] == left:
                ranges[-1] = (ranges[-1][0], right)
            else:
                ranges.append((left, right))
        return tuple(ranges)

    def drop_all(self) -> int:
        """Give up every id in memory, count them as lost and say how many they were."""
        dropped = self.remaining
        self.lost += dropped
        self._hold([])
        return dropped

    def contest(self, left: int, right: int) -> Range | None:
        """Give up every id in memory if any of the present segments lies in `[left, right)`."""
        shared = self.overlap(left, right)
        if shared is not None:
            self.drop_all()
        return shared

    def drop_from(self, end: int) -> None:
        """Give up the ids in memory from `end` on, and count them as lost."""
        kept = [(left, min(right, end)) for left, right in self.held() if left < end]
        before = self.remaining
        self._hold(kept)
        self.lost += before - self.remaining

    def surrender_tail(self) -> Range | None:
        """Remove the highest ids that hang together; `gave_back` or `kept_back` counts them."""
        held = list(self.held())
        if not held:
            return None
        left, right = held.pop()
        while held and held[-1][1] == left:
            left, _ = held.pop()
        self._hold(held)
        return left, right

    @property
    def reach(self) -> int:
        """The end of all that is held or went to callers; 0 if there never was anything."""
        if self._later:
            return self._later[-1][1]
        return self.end if self.end > self._start else self._used_to

    def overlap(self, left: int, right: int) -> Range | None:
        """Tell what of the present segments lies in `[left, right)`, handed out or not."""
        segments = ((self._start, self.end), *self._later)
        shared = [(start, end) for start, end in segments if max(start, left) < min(end, right)]
        return (shared[0][0], shared[-1][1]) if shared else None

    def gave_back(self, ids: int) -> None:
        """Count ids that were surrendered as given back: the next reservation has them again."""
        self.given_back += ids

    def kept_back(self, ids: int) -> None:
        """Count ids that were surrendered as lost: the row could not be lowered, or may not be."""
        self.lost += ids

    def lose(self, ids: int) -> None:
        """Count ids that were, or may have been, reserved and will never be handed out."""
        self.reserved += ids
        self.lost += ids

    def add_up(self, other: "HeldIds") -> None:
        """Count what another one counts, as a sum to look at: none of its ids can be taken."""
        self._origin -= other.handed_out
        self._total += other.remaining
        self.reserved += other.reserved
        self.lost += other.lost
        self.given_back += other.given_back

    @property
    def _end_of_use(self) -> int:
        return self.next if self.next > self._start else self._used_to

    def _hold(self, segments: list[Range]) -> None:
        """Hold these, of those that were held."""
        self._total = self.next + sum(right - left for left, right in segments)
        self.end = self.next
        if segments and segments[0][0] == self.next:  # some of the segment that is in use
            self.end = segments.pop(0)[1]
        self._later = tuple(segments)
        self._settle()

    def _settle(self) -> None:
        """Go on to the next segment at the end of one, and count how many are held."""
        if self.next == self.end and self._later:
            left, right = self._later[0]
            self._later = self._later[1:]
            self._used_to, self._start = self._end_of_use, left
            self._total += left - self.next
            self._origin += left - self.next
            self.next, self.end = left, right
        self.full = (self.next < self.end) + len(self._later) >= SEGMENTS_WANTED
        self.open_end = 0 if self._closed else self.end
