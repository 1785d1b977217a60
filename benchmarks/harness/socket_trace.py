"""Has processes note when they read requests and wrote answers, and reads those notes."""

import json
import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.traced.sitecustomize import NOTE

_FOLDER: Final = Path(__file__).with_name("traced")
_PATIENCE: Final = 5.0  # seconds until a note is there


class Passage:
    """When requests were read by a process and their answers written, in order (`perf_counter`).

    And what its thread did meanwhile: it waited for a CPU, or it worked on what it had read.
    """

    def __init__(self, notes: Sequence[tuple[float, ...]]) -> None:
        self.read: list[float] = []
        self.written: list[float] = []
        self._times: list[float] = []
        self._waits: list[float] = []
        self._works: list[float] = []
        for is_written, at, requests, answers, waits in notes:
            worked = 0.0
            if is_written and self._times:  # from the note before on it was about this answer
                worked = max(at - self._times[-1] - (waits - self._waits[-1]), 0.0)
            self._times.append(at)
            self._waits.append(waits)
            self._works.append(worked + (self._works[-1] if self._works else 0.0))
            self.read += [at] * (0 if is_written else int(requests))
            self.written += [at] * (int(answers) if is_written else 0)

    def waited(self, since: float, until: float) -> float:
        """Tell how many seconds it was ready to run, and did not."""
        return self._between(self._waits, since, until)

    def worked(self, since: float, until: float) -> float:
        """Tell how many seconds it worked on requests."""
        return self._between(self._works, since, until)

    def _between(self, totals: list[float], since: float, until: float) -> float:
        return self._total(totals, until) - self._total(totals, since)

    def _total(self, totals: list[float], at: float) -> float:
        """Tell the total at a time, which rises evenly from one note to the next."""
        after = bisect_left(self._times, at)
        if after in {0, len(totals)}:
            return totals[min(after, len(totals) - 1)]
        begin, end = self._times[after - 1 : after + 1]
        share = (at - begin) / (end - begin)
        return totals[after - 1] + share * (totals[after] - totals[after - 1])


class Trace:
    """What processes noted that were started while `tracing`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, int] = {}

    def skip(self, pid: int) -> None:
        """Forget what a process noted until now."""
        for _ in self._new(pid):
            pass

    def passage(self, pid: int, number: int) -> Passage:
        """Return the requests since the last call, of which there must be so many."""
        notes = list[tuple[float, ...]]()
        deadline = time.monotonic() + _PATIENCE
        while sum(note[3] for note in notes if note[0]) < number and time.monotonic() < deadline:
            notes += self._new(pid)  # an answer may be here before the note of it is
        found = Passage(sorted(notes, key=lambda note: note[1]))
        read, written = len(found.read), len(found.written)
        if not read == written == number:
            raise BenchmarkError(f"of {number} requests {read} were seen, {written} back")
        return found

    def _new(self, pid: int) -> Iterator[tuple[float, ...]]:
        for path in self._folder.glob(f"{pid}.*"):
            with path.open("rb") as file:
                file.seek(self._seen.get(path, 0))
                while (note := NOTE.unpack(file.read(NOTE.size)))[1]:
                    self._seen[path] = self._seen.get(path, 0) + NOTE.size
                    yield note


@contextmanager
def tracing(marks: Sequence[bytes]) -> Iterator[Trace]:
    """Have Python processes that are started meanwhile note where the two marks come by.

    The first one marks a request, the second one an answer.
    """
    with TemporaryDirectory(prefix="idalloc-trace-") as folder:
        given = json.dumps({"folder": folder, "marks": [mark.decode() for mark in marks]})
        added = {"BENCHMARK_TRACE": given, "PYTHONPATH": str(_FOLDER)}
        before = {name: os.environ.get(name) for name in added}
        os.environ.update(added)
        try:
            yield Trace(Path(folder))
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
