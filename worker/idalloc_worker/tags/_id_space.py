"""How much of a tag's id space there is, and how much of it is used up."""

from dataclasses import dataclass
from typing import Final

from idalloc_schemas import MAX_ID

THRESHOLDS: Final = (50, 80, 95)
"""Percent of the space at which an operator is warned."""


def end_of_space(ceiling: int | None) -> int:
    """Tell where the space ends: no segment ends above it. The ceiling itself is the last id."""
    return MAX_ID if ceiling is None else min(ceiling + 1, MAX_ID)


@dataclass(frozen=True, slots=True)
class SpaceUsed:
    """How far a tag's mark has come."""

    mark: int
    end: int

    @property
    def percent(self) -> float:
        """How much of the space lies below the mark; 100 at most."""
        return 100 * min(self.mark, self.end) / self.end

    @property
    def threshold(self) -> int:
        """The highest of THRESHOLDS that is reached; 0 if none is."""
        return max((one for one in THRESHOLDS if one <= self.percent), default=0)


def space_used(mark: int, ceiling: int | None) -> SpaceUsed:
    """Tell how much of a tag's id space is used up."""
    return SpaceUsed(mark, end_of_space(ceiling))
