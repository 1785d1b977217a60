"""What the fleet asks of the worker that is a part of it."""

from typing import Protocol

from idalloc_schemas import HealthCall
from idalloc_worker._effects import Range


class FleetOwner(Protocol):
    """The worker that is a part of the fleet."""

    def on_health_call(self, call: HealthCall) -> None:
        """Answer a caller who asked the whole fleet."""

    def on_foreign_claim(self, app_tag: str, left: int, right: int) -> Range | None:
        """Give up what it holds of a tag if another worker owns some of it; tell what it had."""

    def on_memory_set_back(self, why: str) -> None:
        """Give up all it holds, and the connection: somebody else may have handed it out."""
