"""Refills from beginning to end, give-backs, and the watch on rows."""

from idalloc_worker.refill._coordinator import Refills
from idalloc_worker.refill._give_back import GiveBacks
from idalloc_worker.refill._lookup_queue import LookupLane
from idalloc_worker.refill._outcomes import record_report
from idalloc_worker.refill._row_watch import RowWatch

__all__ = ["GiveBacks", "LookupLane", "Refills", "RowWatch", "record_report"]
