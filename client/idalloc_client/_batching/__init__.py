"""Many calls into few requests."""

from idalloc_client._batching._batcher import Coalescer
from idalloc_client._batching._promise import ThreadPromise, settle
from idalloc_client._batching._tag_queue import Waiter

__all__ = ["Coalescer", "ThreadPromise", "Waiter", "settle"]
