"""Looks for duplicates, ids out of order and gaps in files that callers have kept."""

from idalloc_worker.audit._history import AuditError, History
from idalloc_worker.audit._report import Report

__all__ = ["AuditError", "History", "Report"]
