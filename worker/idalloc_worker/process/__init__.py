"""A worker process and its supervisor: start, signals, logging, stop."""

from idalloc_worker.process._descriptors import ensure_descriptors
from idalloc_worker.process._logging import configure_logging
from idalloc_worker.process._notifier import Notifier
from idalloc_worker.process._process import Parts, run_worker
from idalloc_worker.process._pulse import Place
from idalloc_worker.process._reload import Reload
from idalloc_worker.process._signals import StopOrder, on_stop_signals, show_stacks_on_sigquit
from idalloc_worker.process._supervisor import Supervisor
from idalloc_worker.process._vitals_page import make_vitals

__all__ = [
    "Notifier",
    "Parts",
    "Place",
    "Reload",
    "StopOrder",
    "Supervisor",
    "configure_logging",
    "ensure_descriptors",
    "make_vitals",
    "on_stop_signals",
    "run_worker",
    "show_stacks_on_sigquit",
]
