"""Bounds the tags that are asked for and of which nobody knows whether there is a row."""

from typing import Final

from idalloc_worker.engine._fair_share import EQUALLY, FairShare

_MOST: Final = 1000
"""Looked up at a time: one statement or two. A single user may have half of them."""


class Strangers:
    """Owned by the engine. A tag is a stranger from its first request until its row was looked for.

    Whoever is refused here is so at once, and for as long as a look takes: names that somebody
    makes up wait for one another and not for a place that others need.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._places = FairShare(most, EQUALLY)
        self._brought_by: dict[str, str | None] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._brought_by)

    def admit(self, app_tag: str, user: str | None) -> bool:
        """Take one in, unless those that this user brought are too many."""
        if not self._places.admits(user):
            return False
        self._places.take(user)
        self._brought_by[app_tag] = user
        return True

    def settle(self, app_tag: str) -> None:
        """Note that there is a row, or that the tag was forgotten."""
        if app_tag in self._brought_by:
            self._places.leave(self._brought_by.pop(app_tag))
