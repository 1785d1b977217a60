"""The bounds within which one worker process keeps its memory, its waits and its refills."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """The bounds of one worker process; times in seconds."""

    max_count: int = 1_000_000
    max_waiters: int = 1500
    """Requests that may wait for one tag; one more is answered BUSY."""
    max_waiting: int = 2666
    """Requests that may wait for any tag. No user may have all of these places: see `FairShare`."""
    wait_timeout: float = 2.0
    refill_timeout: float = 2.0
    max_failures: int = 4
    """Failed refills in a row after which the waiting requests are told."""
    backoff_base: float = 0.1
    backoff_cap: float = 1.0
    calm_cap: float = 30.0
    """The longest pause after refills that cost ids and brought none, while ids are left."""
    refusal_ttl: float = 1.0
    """How long "no such tag" and its like are remembered."""
    max_refusals: int = 10_000
    """How many unknown tags are remembered at most."""
    answer_margin: float = 0.1
    """A request is told this long (or a tenth of its time) before its caller stops listening."""

    def wait_until(self, deadline: float, now: float) -> float:
        """Tell how long a request may wait that has this deadline."""
        margin = min(self.answer_margin, (deadline - now) / 10)
        return min(now + self.wait_timeout, deadline - margin)

    def backoff(self, failures: int, jitter: float) -> float:
        """Tell how long to wait after so many failures in a row; `jitter` is from [0, 1)."""
        doubled = self.backoff_base * (1 << min(failures - 1, 16))
        return min(self.backoff_cap, doubled) * (1 + jitter) / 2

    def calm(self, failures: int, jitter: float) -> float:
        """Tell how long to wait after a costly failure, if nobody needs the refill yet."""
        doubled = self.backoff_base * (1 << min(failures - 1, 16))
        return min(self.calm_cap, doubled) * (1 + jitter) / 2
