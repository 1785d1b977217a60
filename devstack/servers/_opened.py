"""What runs for the time of a `with` block."""

import abc
from typing import Self


class Opened(abc.ABC):
    """Closes what could not be opened as a whole, too."""

    @abc.abstractmethod
    def open(self) -> None:
        """Start all of it."""

    @abc.abstractmethod
    def close(self) -> None:
        """End it, and remove what it has left."""

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
