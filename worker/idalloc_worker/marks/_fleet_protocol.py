"""What the fleet asks of the worker that is a part of it, and its memory asks of the fleet."""

from typing import Protocol

from idalloc_client.amqp import Callback
from idalloc_schemas import HealthCall
from idalloc_worker.engine import Range


class FleetOwner(Protocol):
    """The worker that is a part of the fleet."""

    def on_health_call(self, call: HealthCall) -> None:
        """Answer a caller who asked the whole fleet."""

    def on_foreign_claim(self, app_tag: str, left: int, right: int) -> Range | None:
        """Give up what it holds of a tag if another worker owns some of it; tell what it had."""

    def on_memory_set_back(self, why: str) -> None:
        """Give up all it holds, and the connection: somebody else may have handed it out."""


class MemoryOwner(Protocol):
    """The fleet, as its memory sees it."""

    @property
    def speaking(self) -> bool:
        """Whether what is published now reaches the others."""

    def publish(self, body: bytes, on_told: Callback) -> None:
        """Tell all workers, and the stream."""

    def on_deaf(self) -> None:
        """Hear that nothing comes back of what is published."""

    def on_memory_set_back(self, why: str) -> None:
        """Hear that the process has forgotten something that it said."""

    def on_memory_read(self, *, whole: bool) -> None:
        """Hear that reading is over, and whether the stream held all marks."""
