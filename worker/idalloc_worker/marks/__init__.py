"""How far each tag was handed out: kept by all workers and by the broker."""

from idalloc_worker.marks._channel import FleetChannel, FleetLoop
from idalloc_worker.marks._fleet_protocol import FleetOwner
from idalloc_worker.marks._marks import FleetMarks, Watch, new_key
from idalloc_worker.marks._marks_stream import STREAM_ARGUMENTS
from idalloc_worker.marks._memory import FleetMemory
from idalloc_worker.marks._objections import Objections
from idalloc_worker.marks._vouching import Vouching

__all__ = [
    "STREAM_ARGUMENTS",
    "FleetChannel",
    "FleetLoop",
    "FleetMarks",
    "FleetMemory",
    "FleetOwner",
    "Objections",
    "Vouching",
    "Watch",
    "new_key",
]
