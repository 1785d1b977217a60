"""What the model knows of workers, messages and the database."""

from collections.abc import Iterator
from enum import IntEnum, auto
from typing import Any, NamedTuple

STEP = 2


class Phase(IntEnum):
    """What a worker is doing."""

    IDLE = auto()
    SELECT = auto()
    """The floor is fixed; the row is to be read."""
    UPDATE = auto()
    """The row was read; the statement is to be executed."""
    SUSPECT = auto()
    """The row lay too low: an echo is on its way."""
    TELL = auto()
    """A reserved segment is being told; it is in some queues already."""
    CLAIM = auto()
    """It is in all queues; an echo is on its way."""
    SURRENDER = auto()
    """A tail is being told as surrendered."""
    LOWER = auto()
    """It is in all queues; the row is to be lowered."""
    GONE = auto()
    ABSENT = auto()
    """It will join later."""
    JOIN = auto()
    """Its queue is bound, and it asks the others."""


class Message(NamedTuple):
    """`kind` is the first letter of reserved, surrendered, hello, marks, or of one's own echo."""

    kind: str
    worker: int = 0
    left: int = 0
    right: int = 0
    ends: tuple[int, ...] = ()


Segment = tuple[int, int]
Event = tuple[object, ...]
"""What happens, in words and numbers."""
NEVER = 1 << 30
STREAM = -1
"""Stands for the broker's stream among those to whom a message goes."""
ECHO = Message("e")
READING = frozenset({Phase.SELECT, Phase.UPDATE, Phase.SUSPECT})
REFILLING = READING | {Phase.TELL, Phase.CLAIM}


class _Process(NamedTuple):
    """What a worker is, described there."""

    ends: tuple[int, ...]
    phase: Phase = Phase.IDLE
    floor: int = 0
    seen: int = -1
    suspected: int = -1
    segment: Segment = (0, 0)
    untold: tuple[int, ...] = ()
    told_to: tuple[int, ...] = ()
    """All that a message goes to, also those it has reached."""
    rivals: tuple[tuple[int, int, int], ...] = ()
    inbox: tuple[Message, ...] = ()
    held: tuple[Segment, ...] = ()
    finals: tuple[int, ...] = ()
    unheard: tuple[int, ...] = ()
    begun: bool = False
    reads: bool = False
    """Whether a joining one has still to read the stream."""


class Worker(_Process):
    """One process.

    `ends` is its mark for each worker; `finals` those that were surrendered, else a high number;
    `held` are (next id, end) pairs; `unheard` are those that a joining one waits for.

    Those of states are the same where they are equal (`put`), so that a state is compared fast.
    """

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def but(self, **changes: Any) -> "Worker":
        """Make one that differs."""
        values = list(self)
        for name, value in changes.items():
            values[_PLACE[name]] = value
        return tuple.__new__(Worker, values)


_PLACE = {name: place for place, name in enumerate(_Process._fields)}
_KNOWN: dict[tuple[Any, ...], Worker] = {}
"""Those of states, by what they are."""


class State(NamedTuple):
    """Everything. `late` are statements of give-backs on their way, with how often each may run."""

    row: int
    workers: tuple[Worker, ...]
    used: int  # one bit for each id that was handed out
    late: tuple[tuple[int, int, int], ...]
    stored: tuple[int, ...]
    """Each worker's end, as the messages say that a stream of the broker has stored."""
    refills: int
    rewinds: int
    stops: int
    crashes: int


Events = Iterator[tuple[Event, State | None]]
"""What can happen next, and what comes of it; None for a fault."""


def put(state: State, number: int, worker: Worker) -> State:
    row, workers, *rest = state
    return State._make((row, (*workers[:number], same(worker), *workers[number + 1 :]), *rest))


def same(worker: Worker) -> Worker:
    return _KNOWN.setdefault(tuple(worker), worker)


def gone(worker: Worker) -> Worker:
    """Leave nothing that could tell two states apart."""
    return Worker(ends=(0,) * len(worker.ends), phase=Phase.GONE)


def forget() -> None:
    """Begin anew: states of different searches are never compared."""
    _KNOWN.clear()
