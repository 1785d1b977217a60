"""A view of an I/O loop on which no exception of a callback gets lost or ends the loop.

Left alone, one of pika's own callbacks that raises (no descriptor for the next socket, say) ends
the loop that pika ships, for good, and on asyncio ends the connection without a word to anybody.
"""

from collections.abc import Callable
from typing import Any, Protocol

Callback = Callable[[], None]
"""What a loop, a timer or an event runs."""


class SelectorLoop(Protocol):
    """A loop that pika can run on, as `pika.adapters.select_connection.IOLoop`."""

    @property
    def READ(self) -> int: ...  # noqa: N802

    @property
    def WRITE(self) -> int: ...  # noqa: N802

    @property
    def ERROR(self) -> int: ...  # noqa: N802

    def close(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any: ...

    def remove_timeout(self, timeout_handle: Any) -> None: ...

    def add_callback(self, callback: Callable[[], Any]) -> None: ...

    def add_handler(self, fd: int, handler: Callable[[int, int], None], events: int) -> None: ...

    def update_handler(self, fd: int, events: int) -> None: ...

    def remove_handler(self, fd: int) -> None: ...


class GuardedLoop:
    """Passes everything on to a loop, and what callbacks raise to `on_failure`."""

    def __init__(self, loop: SelectorLoop, on_failure: Callable[[Exception], None]) -> None:
        self._loop = loop
        self._on_failure = on_failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)  # all that takes no callback

    def call_later(self, delay: float, callback: Callable[..., Any]) -> Any:
        """Run a callback after `delay` seconds."""
        return self._loop.call_later(delay, self._guard(callback))

    def add_callback(self, callback: Callable[..., Any]) -> None:
        """Run a callback soon; from any thread."""
        self._loop.add_callback(self._guard(callback))

    def add_handler(self, fd: int, handler: Callable[[int, int], None], events: int) -> None:
        """Watch a descriptor."""
        self._loop.add_handler(fd, self._guard(handler), events)

    def _guard(self, callback: Callable[..., Any]) -> Callable[..., None]:
        def guarded(*args: Any) -> None:
            try:
                callback(*args)
            except Exception as error:  # noqa: BLE001  # handed on
                self._on_failure(error)

        return guarded
