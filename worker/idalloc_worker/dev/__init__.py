"""What makes a worker one to develop against: counters in memory, and faults on purpose."""

from idalloc_worker.dev._faults import Faults
from idalloc_worker.dev._requests import faulty_requests
from idalloc_worker.dev._table import MemoryTable, Tag

__all__ = ["Faults", "MemoryTable", "Tag", "faulty_requests"]
