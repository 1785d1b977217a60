"""A whole worker: what comes in is handed to whoever answers it."""

from idalloc_worker.service._garbage import freeze_start
from idalloc_worker.service._requests import Requests
from idalloc_worker.service._service import WorkerService

__all__ = ["Requests", "WorkerService", "freeze_start"]
