"""Refills from beginning to end, give-backs, and the watch on rows."""

from idalloc_worker.refill._coordinator import RefillCoordinator
from idalloc_worker.refill._give_back import GiveBacks
from idalloc_worker.refill._outcomes import record_outcome
from idalloc_worker.refill._row_watch import RowWatch

__all__ = ["GiveBacks", "RefillCoordinator", "RowWatch", "record_outcome"]
