"""MySQL as the refill threads see it: rows that are set back, and statements nobody hears of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from idalloc_worker.mysql._sql import GIVE_BACK, RAISE_MARK, RESERVE
from idalloc_worker.tags._settings import TagSettings
from tests.simulation._choices import Choices
from tests.simulation._sql_reader import read_update

STEP: Final = 3

_reserve = read_update(RESERVE)
_give_back = read_update(GIVE_BACK)
_raise = read_update(RAISE_MARK)

_LAG: Final = 6  # commits that a replica may lack
_FALL: Final = 8  # ids by which somebody lowers a row


@dataclass(slots=True)
class Change:
    """A statement with its arguments; `change` executes it on the host where it was sent."""

    database: "Database"
    statement: str
    app_tag: str
    given: Mapping[str, int]
    host: int
    on_changed: Callable[[int, int], None]
    """Told what the row said before, and what it says now."""

    def change(self) -> bool:
        """Execute it now; True if it changed the row. A host that was left changes nothing."""
        database = self.database
        if self.host != database.host:
            return False
        before = database.rows[self.app_tag]
        after = _STATEMENTS[self.statement](before, self.given)
        if after is None:
            return False
        database.set(self.app_tag, after)
        self.on_changed(before, after)
        return True


_STATEMENTS: Final = {
    "reserve": _reserve,
    "give back": _give_back,
    "raise": _raise,
}


class Database:
    """The rows of some tags."""

    def __init__(self, choices: Choices, tags: tuple[str, ...], ordered: tuple[str, ...]) -> None:
        self._choices = choices
        self.rows = dict.fromkeys((*tags, *ordered), 0)
        self.ordered = frozenset(ordered)
        self.settings = {
            tag: TagSettings(step=STEP, target_cover=0.0, ordered=tag in ordered)
            for tag in self.rows
        }
        self.host = 1
        self.late: list[Change] = []
        """Statements that were sent and are not executed yet, though nobody waits for them."""
        self.was_set_back = False
        self._commits: list[tuple[str, int]] = []  # what each commit found

    def set(self, app_tag: str, mark: int) -> None:
        """Commit."""
        self._commits.append((app_tag, self.rows[app_tag]))
        self.rows[app_tag] = mark

    def statement(
        self, statement: str, app_tag: str, on_changed: Callable[[int, int], None], **given: int
    ) -> Change:
        """Prepare a statement for the host that is in use."""
        return Change(self, statement, app_tag, given, self.host, on_changed)

    def run_late(self) -> Change:
        """Execute a statement that nobody waits for."""
        change = self.late.pop(self._choices.below(len(self.late)))
        change.change()
        return change

    # What sets rows back

    def edit(self) -> str:
        """Have somebody lower a row."""
        tags = [tag for tag, mark in self.rows.items() if mark]
        if not tags:
            return "nothing to lower"
        tag = tags[self._choices.below(len(tags))]
        mark = self.rows[tag] - 1 - self._choices.below(min(_FALL, self.rows[tag]))
        self.rows[tag] = mark
        self.was_set_back = True
        return f"the row of {tag} is set back to {mark}"

    def fail_over(self) -> str:
        """Go on with a replica that lacks the last commits."""
        self.host += 1
        for _ in range(min(self._choices.below(_LAG) + 1, len(self._commits))):
            tag, mark = self._commits.pop()
            self.rows[tag] = mark
            self.was_set_back = True
        return f"fails over to rows {self.rows}"
