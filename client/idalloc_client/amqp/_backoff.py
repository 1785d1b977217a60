"""How long to wait before trying again."""

import random
from collections.abc import Callable


class Backoff:
    """Exponential backoff with jitter, in seconds.

    The jitter keeps a fleet that lost its broker at one instant from coming back at one instant
    ("equal jitter" in the AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
    """

    def __init__(
        self, base: float, cap: float, *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._base = base
        self._cap = cap
        self._jitter = jitter
        self.failures = 0
        """Noted since the last success."""

    def next_delay(self) -> float:
        """Note one more failure and say how long to wait: at most the cap, half of it at least."""
        ceiling = min(self._cap, self._base * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return ceiling * (1 + self._jitter()) / 2

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0
