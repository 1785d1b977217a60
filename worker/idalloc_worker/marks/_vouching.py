"""Says of which tags it is certain that their marks are known, for those who want no ids otherwise.

The marks that a worker finds when it starts may be as old as the database: broker and database can
both be set back. Only time tells. So a worker that knows all marks says now and then that it is
alive, and each claim says when it was made: what was said within `max_age` seconds counts.
"""

import time
from collections.abc import Callable


class Vouching:
    """Owned by the link's thread. `max_age` None: every tag is served, whatever is known."""

    def __init__(
        self, max_age: float | None = None, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._max_age = max_age
        self._wall_clock = wall_clock
        self.for_all = max_age is None
        """Whether this worker relies on the marks of all tags."""
        self._tags: set[str] = set()
        self._rows: dict[str, int] = {}

    def now(self) -> int:
        """Tell the time as messages carry it."""
        return int(self._wall_clock())

    def alive(self, at: int) -> None:
        """Take in that a worker which knows all marks was running."""
        self.for_all = self.for_all or self._recent(at)

    def claimed(self, app_tag: str, at: int | None) -> None:
        """Take in that a tag was reserved from."""
        if not self.for_all and at is not None and self._recent(at):
            self._tags.add(app_tag)

    def vouches_for(self, app_tag: str) -> bool:
        """Whether the tag may be reserved from."""
        return self.for_all or app_tag in self._tags

    def raised(self, app_tag: str, max_id: int) -> bool:
        """Tell whether its row was raised since it was first looked at: then it may be used."""
        if max_id > self._rows.setdefault(app_tag, max_id):
            self._tags.add(app_tag)
        return self.vouches_for(app_tag)

    def _recent(self, at: int) -> bool:
        # A clock that is ahead by more than that vouches for nobody: it would for ever.
        return self._max_age is not None and abs(self._wall_clock() - at) <= self._max_age
