"""What is told to Prometheus."""

from idalloc_worker.metrics._admission import MOST_CONNECTIONS
from idalloc_worker.metrics._merged_pools import merged_pools
from idalloc_worker.metrics._server import MetricsServer
from idalloc_worker.metrics._snapshot_taker import SnapshotTaker
from idalloc_worker.metrics._sources import AskForSnapshot, Children, OwnProcess, Responder

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
