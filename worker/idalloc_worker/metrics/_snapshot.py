"""What a worker process says about itself when Prometheus asks; it travels as JSON."""

from typing import Final

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from idalloc_client.histogram import Histogram


@dataclass(frozen=True, slots=True)
class TagSnapshot:
    """One tag, or all those together that have no series of their own (`tag` is None)."""

    tag: str | None
    handed_out: int
    reserved: int
    lost: int
    given_back: int
    left: int
    waiters: int
    step: int
    failures: int
    """Refills that failed in a row; of several tags, the most."""
    space_used: float
    """Share of the id space below the highest id reserved; of several tags, the highest."""
    cover: float | None
    """Seconds that the ids in memory last at the present rate; of several tags, the least."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One process. Times in seconds; `started_at` since the epoch."""

    worker: str
    """Its name, as health tells it."""
    started_at: float
    cpu_seconds: float
    outcomes: dict[str, dict[str, int]]
    events: dict[str, int]
    refill_failures: dict[str, int]
    limited: dict[str, int]
    latency: Histogram
    refill_time: Histogram
    connected: bool
    blocked: bool
    database_reachable: bool | None
    marks_in_broker: bool | None
    tags_held: int
    refills_in_flight: int
    handed_out: int
    reserved: int
    lost: int
    given_back: int
    left: int
    waiters: int
    tags: tuple[TagSnapshot, ...]


SNAPSHOT: Final = TypeAdapter(Snapshot)
