"""What is told to Prometheus.

The server is loaded, with Prometheus' client, by a worker that is to have one.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from idalloc_worker.metrics._admission import MOST_CONNECTIONS
from idalloc_worker.metrics._merged_pools import merged_pools
from idalloc_worker.metrics._snapshot_taker import SnapshotTaker
from idalloc_worker.metrics._sources import AskForSnapshot, Children, OwnProcess, Responder

if TYPE_CHECKING:
    from idalloc_worker.metrics._server import MetricsServer

__all__ = [
    "MOST_CONNECTIONS",
    "AskForSnapshot",
    "Children",
    "MetricsServer",
    "OwnProcess",
    "Responder",
    "SnapshotTaker",
    "merged_pools",
]


def __getattr__(name: str) -> object:
    if name == "MetricsServer":
        return import_module(f"{__name__}._server").MetricsServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
