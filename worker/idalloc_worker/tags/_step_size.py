"""How many ids to reserve at a time: as many as the tag's consumption calls for, within bounds."""

from dataclasses import dataclass
from math import ceil
from typing import Final

from idalloc_worker.tags._settings import TagSettings

DEFAULT_MAX_STEP: Final = 10_000_000
"""The cap of a tag whose row names none, but for tags of very small steps.

A segment is sized for half the target time, so it never holds more than five minutes' worth at the
rate that was measured. The cap is for rates that are far beyond what one worker serves singly
(100,000 ids/s still get a segment that lasts 100 s), and bounds what a wrong measure could cost: a
worker that is killed loses two segments at most, and the id space holds 10^12 of this size.
"""

MAX_STEPS: Final = 100_000
"""The default cap in steps: who chose a step of 10 cares for gaps more than one of 1000 does."""

GROWTH: Final = 8
"""A segment is at most so many times the one before: from step 100 to 10^7 it takes six refills.

A burst is over before its rate is known. What it reserves in vain is bounded by what it used.
"""

SHRINKAGE: Final = 2
"""A segment is at least this part of the one before.

The first rate that is measured after a quiet night is that of the night. Halving keeps the segment
large enough for the morning, and still takes a tag that stays quiet down to its step.
"""

SHARE_OF_SPACE: Final = 100
"""A segment above the step is at most this part of the ids that are left in the space.

Where they run out, one worker does not hold all of the last ones while another one has none.
"""

_SEGMENTS: Final = 2  # are held when all is well, and share the target time


@dataclass(frozen=True, slots=True)
class Demand:
    """What is known of a tag's consumption when a refill starts."""

    rate: float = 0.0
    """Ids per second that were asked for; 0 if that is not known yet."""
    previous: int = 0
    """The `step_size` of the refill before; 0 if there was none."""


NO_DEMAND: Final = Demand()
"""Nothing is known: one step is reserved."""


def step_size(settings: TagSettings, demand: Demand) -> int:
    """Size the next segment: a whole number of steps, at least one.

    Two segments of this size cover the target time at the rate of the demand, as far as cap, growth
    and shrinkage let them.
    """
    step = settings.step
    if not settings.target_cover:
        return step
    cap = max(_cap(settings), step)
    previous = max(demand.previous, step)
    most = min(previous * GROWTH, cap)
    # As a whole number from here on: a float would lose the last digits of a large one.
    wanted = ceil(min(demand.rate * settings.target_cover / _SEGMENTS, most))
    size = min(max(wanted, -(-previous // SHRINKAGE)), most)
    return min(-(-size // step), cap // step) * step


def reservation_size(settings: TagSettings, demand: Demand, want: int, space: int) -> int:
    """Count the ids to reserve: what the demand calls for, and at least `want` in whole steps.

    `space` is how many there are; no more than that are reserved, so below 1 there are none.
    """
    step = settings.step
    size = min(step_size(settings, demand), space // SHARE_OF_SPACE // step * step)
    wanted = -(-max(want, 1) // step) * step
    return min(max(size, wanted), space)


def first_part(settings: TagSettings, want: int, count: int) -> int:
    """Tell how many of `count` ids to reserve before the rest: what is waited for, or one step.

    A commit whose answer is lost costs what it reserved. So where that would be far more than
    anybody waits for, a small commit shows first that answers come.
    """
    first = reservation_size(settings, NO_DEMAND, want, count)
    return count if count <= GROWTH * first else first


def _cap(settings: TagSettings) -> int:
    if settings.max_step is not None:
        return settings.max_step
    return min(settings.step * MAX_STEPS, DEFAULT_MAX_STEP)
