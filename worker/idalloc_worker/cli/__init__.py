"""The command line, its tables and its live screen."""

from idalloc_worker.cli._main import run

__all__ = ["run"]
