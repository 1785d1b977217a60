"""What is read from the table of segments and written to it, and the threads that do so."""

from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._comparison import Comparison, Verdict, compare
from idalloc_worker.store._id_column import IdColumn
from idalloc_worker.store._migrate import migrate
from idalloc_worker.store._new_rows import NewRow, Templates
from idalloc_worker.store._reservation import Reservation, Row, plan_for
from idalloc_worker.store._schema import create_schema
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.store._tags import TagAdmin, TagRow, Values
from idalloc_worker.store._takeover import (
    CosIdCounters,
    Counter,
    Counters,
    CutCounters,
    VitessCounters,
    take_over,
)
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
    "Comparison",
    "CosIdCounters",
    "Counter",
    "Counters",
    "CutCounters",
    "GiveBack",
    "IdColumn",
    "Job",
    "NewRow",
    "NotBegunError",
    "RefillOutcome",
    "RefillThreads",
    "Reservation",
    "Row",
    "SegmentStore",
    "Store",
    "TagAdmin",
    "TagRow",
    "Templates",
    "Values",
    "Verdict",
    "VitessCounters",
    "compare",
    "create_schema",
    "migrate",
    "plan_for",
    "take_over",
]
