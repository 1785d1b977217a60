"""Keeps a flood of like events from becoming a flood of log lines."""

import logging
from typing import Any


class ThrottledLog:
    """Logs the first event of a kind at once, then one line per interval with the number of them.

    Owned by one thread; `now` is in monotonic seconds.
    """

    def __init__(self, logger: logging.Logger, interval: float = 10.0) -> None:
        self._logger = logger
        self._interval = interval
        self._next: dict[str, float] = {}
        self._withheld: dict[str, int] = {}

    def warning(self, now: float, kind: str, message: str, *args: Any) -> None:
        """Log a warning, unless one of its kind was logged within the interval."""
        if now < self._next.get(kind, now):
            self._withheld[kind] = self._withheld.get(kind, 0) + 1
            return
        self._next[kind] = now + self._interval
        withheld = self._withheld.pop(kind, 0)
        if withheld:
            message = f"{message} (and {withheld} more like it since the last such line)"
        self._logger.warning(message, *args)
