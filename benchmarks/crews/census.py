"""Counts the ids that drawers wrote into files: how many, how often the same, and in what order.

A file holds the ids of one drawer, as it got them, as 64-bit integers. One byte for each id up to
the highest is all the memory it takes: some ten million are no trouble.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.harness.runner import BenchmarkError

_CHUNK = 1 << 16  # ids


class Ledger:
    """Writes down the ids of one drawer, which alone uses it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._ids = array("q")
        self.count = 0
        """How many ids came so far."""

    def add(self, value: int) -> None:
        """Take an id in."""
        self._ids.append(value)
        self.count += 1
        if len(self._ids) >= _CHUNK:
            self._write()

    def close(self) -> None:
        """Write what is left."""
        self._write()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self) -> None:
        self._ids.tofile(self._file)
        self._ids = array("q")


@dataclass(frozen=True)
class Census:
    """What all files say together."""

    ids: int
    """In all files, each as often as it stands there."""
    duplicates: int
    falls: int
    """Ids that are not higher than the one before in the same file."""
    highest: int


def take_census(files: Iterable[Path]) -> Census:
    """Look at every id; raises BenchmarkError for one below 1."""
    seen = bytearray()
    ids = duplicates = falls = 0
    for path in files:
        last = 0
        for chunk in _chunks(path):
            ids += len(chunk)
            if min(chunk) < 1:
                raise BenchmarkError(f"an id is below 1: {min(chunk)}")
            if max(chunk) >= len(seen):
                seen.extend(bytes(max(chunk) + 1 - len(seen)))
            for value in chunk:
                duplicates += seen[value]
                seen[value] = 1
                falls += value <= last
                last = value
    return Census(ids, duplicates, falls, max(len(seen) - 1, 0))


def _chunks(path: Path) -> Iterator["array[int]"]:
    with path.open("rb") as file:
        while data := file.read(_CHUNK * 8):
            chunk = array("q")
            chunk.frombytes(data)
            yield chunk
