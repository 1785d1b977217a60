"""The command line, its tables and its live screen."""

from idalloc_worker.cli._main import run
from idalloc_worker.cli._text_table import lined_up

__all__ = ["lined_up", "run"]
