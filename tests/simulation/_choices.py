"""Where a schedule comes from: a seed, or the recorded choices of an earlier run."""

import random
from collections.abc import Sequence

Step = tuple[int, ...]
"""The choices that were made in one step."""


class Choices:
    """Chooses, and notes what was chosen, step by step.

    What is replayed need not fit: a number that is too large is taken modulo, and one that is
    missing is 0. So any part of a schedule is a schedule, which is what makes it easy to shrink.
    """

    def __init__(self, seed: int | None, replay: Sequence[Step] = ()) -> None:
        self._random = None if seed is None else random.Random(seed).random
        self._replay = iter(replay)
        self._given: list[int] = []
        self._made: list[int] = []
        self._begun = False
        self.steps: list[Step] = []

    def begin_step(self) -> bool:
        """Go on to the next step; False if a replay is over."""
        self.end_step()
        self._begun = True
        if self._random is None:
            given = next(self._replay, None)
            self._given = list(reversed(given or ()))
            return given is not None
        return True

    def end_step(self) -> None:
        """Put down what was chosen since the last step began."""
        if self._begun:
            self.steps.append(tuple(self._made))
            self._made = []
            self._begun = False

    def below(self, bound: int) -> int:
        """Choose a number from 0 to `bound - 1`; 0 is the dullest."""
        if self._random is not None:
            chosen = int(self._random() * bound)
        else:
            chosen = self._given.pop() % bound if self._given else 0
        self._made.append(chosen)
        return chosen

    def chance(self, percent: int) -> bool:
        """Let something happen in so many of a hundred cases."""
        return percent > 0 and self.below(100) >= 100 - percent
