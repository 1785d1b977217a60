"""What the whole fleet does, as whoever may ask all workers sees it."""

from idalloc_worker.survey._ask import View, look_once, watch
from idalloc_worker.survey._table import GONE_FOR, Buffers, Poll, Table, TagRow, WorkerRow, compare

__all__ = [
    "GONE_FOR",
    "Buffers",
    "Poll",
    "Table",
    "TagRow",
    "View",
    "WorkerRow",
    "compare",
    "look_once",
    "watch",
]
