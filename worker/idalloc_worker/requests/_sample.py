"""Lets the first few of each second through: enough to see what comes, however much it is."""

from typing import Final

SHOWN: Final = 100
"""A second."""


class Sample:
    """Owned by one thread."""

    def __init__(self) -> None:
        self._second = -1
        self._count = 0

    def takes(self, now: float) -> bool:
        """Whether this one is among the first of its second."""
        second = int(now)
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        return self._count <= SHOWN
