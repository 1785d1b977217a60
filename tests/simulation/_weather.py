"""What a schedule may come by: the knobs of a simulation, and the weathers that the suite runs."""

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How much of what goes wrong in one schedule; chances in percent."""

    workers: int = 3
    """At the start."""
    spared: int = 1
    """How many of them nothing happens to, so that somebody remembers."""
    steps: int = 400
    tags: tuple[str, ...] = ("a",)
    asks: int = 7
    """Of some sixty things that can happen, how many are requests."""
    in_flight: int = 8
    """Requests that wait for their answer before another one is sent."""
    ordered: tuple[str, ...] = ()
    """Tags whose ids rise across the whole fleet."""

    joins: int = 2
    stops: int = 1
    crashes: int = 1
    blackouts: int = 0
    """Times that all workers die at once, the database is set back, and others start."""
    cuts: int = 1
    """Connections that the broker gives up, whose worker hears of it later."""
    freezes: int = 0
    """Workers that stand still for a while."""
    broker_restarts: int = 0

    edits: int = 0
    """Rows that somebody lowers."""
    failovers: int = 0
    """Changes to a replica that lacks the last commits."""
    statements_fail: int = 3
    answers_lost: int = 6
    """Statements that are executed, now or later or never, and of which nobody hears."""
    statements_repeated: int = 0
    """Statements that a proxy between worker and database sends again, in another session."""

    slow: int = 0
    """Timers that fire although messages are on their way: peers that are slow to answer.

    Then a give-back may be heard of too late, and is taken for a row that was set back.
    """
    nacks: int = 0
    """Messages to the fleet that the broker says it could not take."""
    streams: int = 1
    """Whether the broker has streams: else workers alone remember what was reserved."""
    fleet_losses: int = 0
    """Times that the process of a fleet queue restarts, and loses what is in it."""
    drops: int = 0
    """Times that a fleet queue is full, and loses its oldest messages."""
    partition_moves: int = 0
    """Times that the process of a partition's queue restarts, while all its consumers live on."""
    quorum: int = 0
    """Whether partitions have quorum queues."""
    passes: int = 0
    """Times that such a queue goes to another consumer, and the one before hears nothing."""


CALM: Final = Weather(workers=2, joins=2, crashes=0, cuts=0)
"""Workers come and go, and the database keeps its commits: every repair would be a false one."""

REWINDS: Final = Weather(edits=2, failovers=1, cuts=0)
"""Rows are set back while workers come, stop and die."""

FEW: Final = Weather(workers=1, joins=3, edits=2, failovers=1, cuts=0)
"""The same, where one worker may be the only one that knows."""

DARK: Final = Weather(workers=2, blackouts=2, edits=1, crashes=0, joins=1)
"""Nobody lives who remembers what the database has lost: only the broker does."""

CUTS: Final = Weather(workers=2, cuts=3, stops=0, crashes=0, nacks=2)
FREEZES: Final = Weather(freezes=2, edits=1, failovers=1, joins=0, crashes=0)
RESTARTS: Final = Weather(broker_restarts=2, cuts=1, stops=0)
NACKS: Final = Weather(workers=2, cuts=1, stops=0, crashes=0, nacks=10)
"""The broker takes one message of the fleet in ten from nobody."""

LOSSES: Final = Weather(fleet_losses=2, edits=1, cuts=0, crashes=0, joins=1)
"""Messages of the fleet are lost in the queues of those that live on."""

DROPS: Final = Weather(
    tags=("a", "b", "c"), drops=6, freezes=2, edits=2, cuts=0, crashes=0, joins=1
)
"""Workers that read too slowly miss what others say."""

REPEATS: Final = Weather(workers=2, statements_repeated=10, stops=2, joins=3)
"""A proxy repeats statements, give-backs among them, whenever it likes."""

SLOW: Final = Weather(slow=30, edits=1, joins=1)
"""Time passes while messages are on their way."""

ORDERED: Final = Weather(
    workers=2,
    spared=0,
    tags=(),
    ordered=("o",),
    cuts=5,
    stops=0,
    crashes=0,
    joins=1,
    asks=10,
    in_flight=2,
)

MOVES: Final = replace(ORDERED, cuts=2, partition_moves=3)
"""Partitions go to other consumers while their owners live on."""

QUORUM: Final = replace(ORDERED, quorum=1, passes=12, fleet_losses=6, cuts=1, stops=1)
"""Partitions go to and fro between owners that live on and are not told, nor hear each other."""

WEATHERS: Final = {
    "calm": CALM,
    "rewinds": REWINDS,
    "few": FEW,
    "dark": DARK,
    "cuts": CUTS,
    "freezes": FREEZES,
    "restarts": RESTARTS,
    "nacks": NACKS,
    "losses": LOSSES,
    "drops": DROPS,
    "repeats": REPEATS,
    "slow": SLOW,
    "ordered": ORDERED,
    "moves": MOVES,
    "quorum": QUORUM,
}
"""By name; a schedule's seed says which of them it has."""
