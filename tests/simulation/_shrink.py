"""Cuts a schedule that breaks a rule down to one that a human can read."""

from collections.abc import Sequence
from dataclasses import replace

from tests.simulation._choices import Step
from tests.simulation._run import Outcome, run
from tests.simulation._weather import Weather

_TRIES = 1500


def kind_of(found: str | None) -> str | None:
    """Name the rule that was broken."""
    return None if found is None else found.partition(":")[0]


class _Shrinker:
    """Leaves out steps, many at a time and then few, as long as the same rule is broken."""

    def __init__(self, weather: Weather, steps: Sequence[Step], kind: str | None) -> None:
        self.weather = replace(weather, steps=len(steps))
        self._kind = kind
        self._tries = 0
        self.steps = list(steps)

    def shrink(self) -> list[Step]:
        """Return the shortest schedule that was found."""
        size = len(self.steps) // 2
        while size and self._tries < _TRIES:
            size = size if self._leave_out(size) else size // 2
        return self.steps

    def _leave_out(self, size: int) -> bool:
        """Try to do without each run of so many steps; True if one could be left out."""
        shorter = False
        start = len(self.steps) - size
        while start > 0 and self._tries < _TRIES:  # the first one is the warm-up
            candidate = self.steps[:start] + self.steps[start + size :]
            if self._still_breaks(candidate):
                self.steps = candidate
                shorter = True
            start -= size
        return shorter

    def _still_breaks(self, steps: Sequence[Step]) -> bool:
        self._tries += 1
        return kind_of(run(self.weather, replay=steps).found) == self._kind


def shrink(weather: Weather, outcome: Outcome) -> Outcome:
    """Run the shortest schedule that breaks the same rule, and have it written down."""
    shrinker = _Shrinker(weather, outcome.steps, kind_of(outcome.found))
    return run(shrinker.weather, replay=shrinker.shrink(), trace=True)
