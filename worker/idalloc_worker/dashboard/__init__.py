"""The fleet at work, as a page for a browser. Needs the extra `dashboard`."""

from idalloc_worker.dashboard._server import Dashboard

__all__ = ["Dashboard"]
