"""A worker process and its supervisor: start, signals, logging, stop."""

from idalloc_worker.process._descriptors import ensure_descriptors
from idalloc_worker.process._logging import configure_logging
from idalloc_worker.process._process import run_worker
from idalloc_worker.process._signals import StopOrder, on_stop_signals, show_stacks_on_sigquit
from idalloc_worker.process._supervisor import Supervisor

__all__ = [
    "StopOrder",
    "Supervisor",
    "configure_logging",
    "ensure_descriptors",
    "on_stop_signals",
    "run_worker",
    "show_stacks_on_sigquit",
]
