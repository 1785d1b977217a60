"""What a client knows of traces, whether OpenTelemetry is installed or not."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Protocol

OPENTELEMETRY: Final = "opentelemetry.context"
"""The module without which no caller has a context."""


class Carrier(Protocol):
    """A request on its way, for the callers in it that are followed. It belongs to the link."""

    headers: Mapping[str, str] | None
    """The trace context to pass on."""

    def sent(self, correlation_id: bytes, server: str, exchange: str) -> None:
        """Note that it leaves, for the first time or once more."""

    def finished(self, error: Exception | None) -> None:
        """Note what came of it; its callers may be asked for again."""


class CallTrace(Protocol):
    """One call of a caller in a span, from its beginning to its end."""

    @property
    def recorded(self) -> bool:
        """Whether it has a span of its own; if not, the caller's context is passed on."""

    def carrier(self, calls: "Sequence[CallTrace]") -> Carrier:
        """Make what a request takes along for these calls, of which this is the first."""

    def on_done(self, future: Any, /) -> None:
        """End with a future's outcome."""

    def __enter__(self) -> object:
        """Make the call within it: it ends with the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


BeginCall = Callable[[str, str | None, int], CallTrace | None]
"""Takes a queue, a tag if it is about one, and how many ids are wanted."""
