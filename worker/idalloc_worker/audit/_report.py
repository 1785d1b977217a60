"""What an audit has found."""

from dataclasses import dataclass, field
from typing import Final

EXAMPLES: Final = 10
"""How many faults of each kind of a tag are told one by one; all are counted."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Ids from `first` to `last`, which the records at two places have."""

    first: int
    last: int
    places: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fall:
    """A reply with the id `lower`, asked for when `higher` had been received already."""

    higher: int
    lower: int
    places: tuple[str, str]


@dataclass(slots=True)
class TagReport:
    """What was found of one tag.

    `ids` counts each as often as it came, `duplicates` those that had come before. `gaps` are the
    places between the lowest id and the highest where some are missing, `missing` is how many.
    """

    app_tag: str
    ids: int = 0
    lowest: int = 0
    highest: int = 0
    gaps: int = 0
    missing: int = 0
    duplicates: int = 0
    falls: int = 0
    duplicate_examples: list[Duplicate] = field(default_factory=list)
    fall_examples: list[Fall] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What all records say.

    `in_order` is how many of them could be looked at for their order: they have times, and a worker
    or an ordered tag. `unreadable` counts lines that say nothing.
    """

    records: int = 0
    in_order: int = 0
    unreadable: int = 0
    unreadable_examples: list[str] = field(default_factory=list)
    tags: list[TagReport] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """Duplicates and falls of all tags."""
        return sum(tag.duplicates + tag.falls for tag in self.tags)

    @property
    def complete(self) -> bool:
        """Whether there was something to read, and all of it could be read."""
        return self.records > 0 and not self.unreadable
