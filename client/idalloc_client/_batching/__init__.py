"""Many calls into few requests."""

from idalloc_client._batching._batcher import Batcher
from idalloc_client._batching._promise import Promise, ThreadPromise, settle
from idalloc_client._batching._tag_queue import Waiter
from idalloc_client._batching._task_promise import TaskPromise, TaskWaker

__all__ = ["Batcher", "Promise", "TaskPromise", "TaskWaker", "ThreadPromise", "Waiter", "settle"]
