"""What is read from the table of segments and written to it, and the threads that do so."""

from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._migrate import migrate
from idalloc_worker.store._schema import create_schema
from idalloc_worker.store._store import Reservation, SegmentStore
from idalloc_worker.store._tags import TagAdmin, TagRow, Values
from idalloc_worker.store._threads import (
    Errand,
    GiveBack,
    NotBegunError,
    Refiller,
    RefillReport,
    Store,
)

__all__ = [
    "AdminSession",
    "Errand",
    "GiveBack",
    "NotBegunError",
    "RefillReport",
    "Refiller",
    "Reservation",
    "SegmentStore",
    "Store",
    "TagAdmin",
    "TagRow",
    "Values",
    "create_schema",
    "migrate",
]
