"""Compares a tag's row with the ids that applications have stored, and raises it above them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._id_column import IdColumn, highest_id
from idalloc_worker.store._tags import TagAdmin
from idalloc_worker.tags import StoreError, end_of_space


class Verdict(Enum):
    """Where a row lies."""

    ABOVE = "above"
    BELOW = "below"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Comparison:
    """What was found. `needed` is the least max_id that is above all ids; None if there are none.

    `problems` are why a row or a column could not be looked at.
    """

    app_tag: str
    problems: list[str]
    warnings: list[str]
    max_id: int | None = None
    highest: int | None = None
    needed: int | None = None
    raised_from: int | None = None

    @property
    def verdict(self) -> Verdict:
        """What is certain: one column with a higher id is enough to be below."""
        if self.max_id is not None and self.needed is not None and self.max_id < self.needed:
            return Verdict.BELOW
        return Verdict.UNKNOWN if self.problems else Verdict.ABOVE

    def raise_row(self, admin: TagAdmin) -> None:
        """Raise the row of a tag that is below. Raises what TagAdmin raises."""
        if self.needed is not None:
            self.raised_from = self.max_id
            self.max_id = admin.raise_mark(self.app_tag, self.needed).max_id


def compare(
    admin: TagAdmin,
    application: AdminSession,
    app_tag: str,
    columns: Iterable[IdColumn],
    margin: int = 0,
) -> Comparison:
    """Compare the row of a tag with all of the columns.

    `margin` is how many ids above the highest one may be in use.
    """
    found = Comparison(app_tag, [], [])
    end = end_of_space(None)
    try:
        row = admin.show(app_tag)
        if not isinstance(row.max_id, int):
            found.problems.append(f"max_id of {app_tag} is {row.max_id}, which is no number")
        else:
            found.max_id = row.max_id
        ceiling = row.settings["ceiling"]
        end = end_of_space(ceiling if isinstance(ceiling, int) else None)
    except StoreError as error:
        found.problems.append(str(error))
    for column in columns:
        try:
            highest = highest_id(application, column, end)
        except StoreError as error:
            found.problems.append(str(error))
            continue
        found.warnings += [one for one in highest.warnings if one not in found.warnings]
        if highest.value is not None:
            found.highest = max(found.highest or highest.value, highest.value)
    if found.highest is not None:
        found.needed = max(0, min(found.highest + 1 + margin, end))
    return found
