"""What is read from the table of segments and written to it, and the threads that do so."""

from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._migrate import migrate
from idalloc_worker.store._reservation import Reservation, Row, plan_for
from idalloc_worker.store._schema import create_schema
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.store._tags import TagAdmin, TagRow, Values
from idalloc_worker.store._threads import (
    GiveBack,
    Job,
    NotBegunError,
    RefillOutcome,
    RefillThreads,
    Store,
)

__all__ = [
    "AdminSession",
    "GiveBack",
    "Job",
    "NotBegunError",
    "RefillOutcome",
    "RefillThreads",
    "Reservation",
    "Row",
    "SegmentStore",
    "Store",
    "TagAdmin",
    "TagRow",
    "Values",
    "create_schema",
    "migrate",
    "plan_for",
]
