"""What the engine says: answers to requests, and work that it wants done outside."""

from dataclasses import dataclass
from typing import Final

from idalloc_schemas import RespCode
from idalloc_worker.tags import NO_DEMAND, Demand

Range = tuple[int, int]
"""A half-open range of ids."""


Ranges = tuple[Range, ...]
"""The ids of one request, in increasing order.

A grant is this and nothing more: a class for it would take longer to make than the ids to find.
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request gets no ids; `retry_after` in seconds, where a retry can help."""

    code: RespCode
    msg: str
    retry_after: float | None = None
    detail: str | None = None
    """What operators are told instead: it names database, table or row."""


@dataclass(frozen=True, slots=True)
class Personal(Refused):
    """What is refused to the users who asked, and may be given to others."""


@dataclass(frozen=True, slots=True)
class OverShare(Personal):
    """BUSY because of what its user asks for: others are served."""


@dataclass(frozen=True, slots=True)
class Redirected:
    """Where a request has to go: this engine does not serve its tag under this name."""

    msg: str
    detail: None = None


REDIRECTED: Final = Redirected("this app_tag is ordered")
"""To the owner of the tag's partition, who alone may answer."""

TO_PERIOD: Final = Redirected("this app_tag starts anew in each period")
"""To the tag of the period that it is now."""

Denial = Refused | Redirected
"""Why this engine has no ids for a tag."""

Answer = Ranges | Denial


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that waited has its answer."""

    waiter: object
    answer: Answer


@dataclass(frozen=True, slots=True)
class Expired:
    """A request that waited is past its caller's deadline: nobody wants its answer."""

    waiter: object


@dataclass(frozen=True, slots=True)
class ReservationRequest:
    """Reserve at least `want` ids, none below `floor`: see `SegmentStore.reserve`."""

    app_tag: str
    want: int
    floor: int = 0
    """The highest end of any segment of the tag that is known."""
    demand: Demand = NO_DEMAND
    users: frozenset[str | None] | None = None
    """Who waits: unless one of them may draw from the tag, reserve nothing and report the row's
    settings. None: nobody waits, reserve in any case."""
    ordered: bool = False
    """For the owner of an ordered tag, of which nobody else may reserve anything."""
    suspected: int | None = None
    """What the row said when it was found to lie below the floor, and nothing explained that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRefill(ReservationRequest):
    """Reserve, as attempt number `attempt`.

    Each attempt is to be reported once, with `Engine.segment_arrived`, `settings_arrived`,
    `refill_failed` or `refill_refused`, however late.
    """

    attempt: int
    stranger: bool = False
    """Nobody has ever seen a row of the tag: it may be any name that somebody sends."""


@dataclass(frozen=True, slots=True)
class AbandonRefill:
    """The attempt took too long: interrupt it. Its report is still wanted, for the books."""

    attempt: int


Effect = Answered | Expired | StartRefill | AbandonRefill
