"""Sees at the start that a worker may open as many descriptors as it can come to need."""

import logging
import resource
from typing import Final

from idalloc_worker.metrics import MOST_CONNECTIONS
from idalloc_worker.settings import Settings

_log = logging.getLogger("idalloc.worker")

_BASE: Final = 64
"""The broker's connection, the loop, what Python opens, and some to spare."""


def needed(settings: Settings) -> int:
    """Count the descriptors that one process may need at a time."""
    databases = 2 * settings.refill_threads  # each connection, and the handle that can cut it
    children = 4 * settings.processes
    metrics = 2 * MOST_CONNECTIONS + 1 if settings.metrics_port else 0
    return _BASE + databases + children + metrics


def ensure_descriptors(settings: Settings) -> None:
    """Raise the limit of this process and its children where it is too low, or warn."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = needed(settings)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return
    limit = need if hard == resource.RLIM_INFINITY else min(need, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < need:
        _log.warning(
            "This process may open %d descriptors and can need %d: raise its limit (ulimit -n), or "
            "it may be unable to reach broker and database again",
            limit,
            need,
        )
