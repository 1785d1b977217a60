"""Notices that the thread did not run for a while: a stopped process, a paused machine, swapping.

Requests that came in meanwhile waited in the socket, where neither the broker's TTL nor the
worker's clock sees them age. Handed back, they are judged by the broker: it keeps each message's
own expiry (RabbitMQ, "Time-To-Live and Expiration"), drops the dead and delivers the rest.
"""

BEAT = 0.1
"""Seconds between two calls of `beat`."""

_STALL = 0.3  # seconds without a beat that are more than a busy machine's hiccup
_AFTERMATH = 1.0  # seconds within which what had piled up is read


class StallGuard:
    """Owned by the thread that it watches; times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._last_beat = now
        self._stalled_at: float | None = None
        self._resumed_at = now

    def beat(self, now: float) -> None:
        """Say that the thread runs."""
        self._notice(now)
        self._last_beat = now
        if now - self._resumed_at > _AFTERMATH:
            self._stalled_at = None

    def may_be_dead(self, deadline: float, now: float) -> bool:
        """Whether a message read now, to be answered by `deadline`, may have aged unseen."""
        if now - self._last_beat > _STALL:
            self._notice(now)
        if self._stalled_at is None:  # nearly always
            return False
        return deadline - now <= now - self._stalled_at

    def _notice(self, now: float) -> None:
        if now - self._last_beat > _STALL and now - self._resumed_at > _STALL:
            self._stalled_at = self._last_beat
            self._resumed_at = now
