"""Which pattern an unknown tag is made from, and how many one user may have made; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from idalloc_schemas import Period
from idalloc_worker.tags import (
    Allowance,
    NewTagForbiddenError,
    TagNotFoundError,
    TagSettings,
    TooManyNewTagsError,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """To make a tag from `pattern`, which `user` may."""

    pattern: str
    user: str | None


class Patterns:
    """The patterns of a table: rows such as `tenant-*`, whose name begins as those of its tags."""

    def __init__(self) -> None:
        self._patterns: dict[str, TagSettings] = {}
        self._allowances: dict[str, Allowance] = {}

    def replace(self, rows: Mapping[str, TagSettings]) -> None:
        """Take in what the table says now; who has used up an allowance still has."""
        self._patterns = {name: row for name, row in rows.items() if row.new_per_minute}
        allowances = self._allowances
        self._allowances = {}
        for name, row in self._patterns.items():
            allowance = self._allowances[name] = allowances.get(name) or Allowance(1.0)
            allowance.rate = (row.new_per_minute or 0) / 60

    def choose(self, app_tag: str, users: Iterable[str | None], now: float) -> Choice:
        """Take the pattern with the longest name, and charge one of these users for the tag.

        Raises TagNotFoundError if no pattern is for any of them, and TooManyNewTagsError.
        """
        name = next((name for name in _names(app_tag) if name in self._patterns), None)
        if name is None or not _may_be_called(app_tag, self._patterns[name]):
            raise TagNotFoundError(app_tag)
        allowance = self._allowances[name]
        debts = {user: allowance.debt(user, 1, now) for user in users if self._allows(name, user)}
        if not debts:
            raise NewTagForbiddenError(app_tag)
        user = min(debts, key=debts.__getitem__)
        if debts[user]:
            raise TooManyNewTagsError(app_tag, debts[user])
        allowance.charge(user, 1, now)
        return Choice(name, user)

    def _allows(self, pattern: str, user: str | None) -> bool:
        return self._patterns[pattern].allows(user)


def _may_be_called(app_tag: str, pattern: TagSettings) -> bool:
    """Whether no row of another meaning would have this name, now or some day.

    Whoever made the row of a period, before anybody else does, would say what is in it.
    """
    kind = pattern.starts_anew
    fits = kind is None or len(app_tag) <= kind.longest_tag
    return fits and not app_tag.endswith("*") and Period.of_row(app_tag) is None


def _names(app_tag: str) -> Iterable[str]:
    """Name the patterns that a tag may be made from, the longest first; never itself."""
    names = (f"{app_tag[:end]}*" for end in range(len(app_tag), -1, -1))
    return (name for name in names if name != app_tag)
