"""What a worker knows of traces, whether OpenTelemetry is installed or not."""

from collections.abc import Callable
from typing import Protocol

from idalloc_schemas import AllocRequest

CallLater = Callable[[float, Callable[[], None]], object]
"""Runs a callback of the link's thread after so many seconds."""


class Message(Protocol):
    """A request as it was delivered."""

    tag: int
    correlation_id: bytes | None
    reply_to: bytes | None
    user: bytes | None
    request: AllocRequest

    @property
    def server(self) -> str:
        """The broker that it came from."""


class RequestTrace(Protocol):
    """One request that came with a trace context, from its delivery to its end."""

    traceparent: bytes
    """The caller's context, for whoever answers in this worker's place."""

    def waits(self, *, ordered: bool) -> None:
        """Note that it waits for a refill, of the engine for ordered tags or of the other one."""

    def end(self, outcome: str) -> None:
        """Note how it ended; what comes later changes nothing."""


class Traces(Protocol):
    """What is shown of a worker. Owned by the link's thread; nothing of it raises or blocks."""

    def begin(
        self, traceparent: bytes | None, message: Message, queue: str, age: float = 0.0
    ) -> RequestTrace | None:
        """Follow a request that came `age` seconds ago; None if it is not to be shown."""

    def refilled(
        self, app_tag: str, seconds: float, error: BaseException | None, *, ordered: bool
    ) -> None:
        """Show what a refill asked of the database, if a request that is shown waits for it."""


NewTraces = Callable[[CallLater], Traces | None]


def no_traces(_call_later: CallLater) -> None:
    """Show nothing."""
