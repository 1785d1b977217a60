"""Ordered tags: partitions, their owners, and how requests reach them."""

from idalloc_worker.ordered._forwarder import Loop
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from idalloc_worker.ordered._owner_session import BundledRequest, DirectRequest
from idalloc_worker.ordered._tags import OrderedTags

__all__ = ["BundledRequest", "DirectRequest", "Loop", "OrderedEngine", "OrderedTags"]
