"""How far a worker has come in joining the fleet."""

from enum import Enum, auto


class FleetState(Enum):
    """What becomes of a claim."""

    DOWN = auto()
    """No channel just now: claims wait."""
    GREETING = auto()
    """It is not known yet whether the broker passes on what is said: claims wait."""
    READING = auto()
    """The stream is read for the marks of all: claims wait."""
    GATHERING = auto()
    """The others were asked for their marks: claims wait."""
    READY = auto()
    UNPROTECTED = auto()
    """The broker refuses: segments are used at once, as if this worker were alone."""
