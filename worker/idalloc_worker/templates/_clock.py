"""What time it is by the database, whose clock says when a period begins; pure."""

from datetime import datetime, timedelta


class DatabaseClock:
    """Goes on from a time that was read, as fast as this machine's monotonic clock.

    What was read was true before the answer came, so that it lags by as much and is never ahead:
    a worker that is ahead would ask for a period that has not begun. The machine's own time of day
    plays no part.
    """

    def __init__(self, utc: datetime, now: float) -> None:
        """Begin with what the database said, in an answer that had come at `now`."""
        self._utc = utc
        self._now = now

    def at(self, now: float) -> datetime:
        """Tell the time in UTC at a moment of the monotonic clock (seconds)."""
        return self._utc + timedelta(seconds=now - self._now)

    def when(self, utc: datetime) -> float:
        """Tell the moment of the monotonic clock at which it will be so late."""
        return self._now + (utc - self._utc).total_seconds()
