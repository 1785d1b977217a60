"""Says in JSON what the page shows."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from idalloc_worker.survey import Table, TagRow, View, WorkerRow

_NAMED = 3  # that an alarm names; the tables have all


@dataclass(frozen=True, slots=True)
class Picture:
    """One state of the page."""

    number: int
    """A page that has this one asks for another."""
    interval: float
    """Seconds until the next one."""
    alarms: list[str]
    """What an operator has to know, in full sentences."""
    tags: list[TagRow]
    workers: list[WorkerRow]
    tags_unlisted: int

    def encode(self) -> bytes:
        """Write it as JSON."""
        return _PICTURE.dump_json(self)


_PICTURE = TypeAdapter(Picture)


def picture(number: int, interval: float, view: View, *, connected: bool) -> Picture:
    """Describe a view; `connected` tells whether the broker could be reached."""
    table = view.table
    alarms = [_no_answer(view.problem, connected=connected)] if view.problem else _alarms(table)
    return Picture(number, interval, list(alarms), table.tags, table.workers, table.tags_unlisted)


def _no_answer(problem: Exception, *, connected: bool) -> str:
    if connected:
        return f"No worker answers, trying on: {problem}."
    return f"The broker cannot be reached, trying on: {problem}."


def _alarms(table: Table) -> Iterator[str]:
    present = table.present
    without_database = [one.name for one in present if one.database is False]
    unprotected = [one.name for one in present if one.protected is False]
    troubled = {
        "Does not answer any more": [one.name for one in table.workers if one.gone],
        "Could not use the database when it was last needed": without_database,
        "Not protected against a database that is rolled back, see its log": unprotected,
        "In trouble, see the last error below": [t.app_tag for t in table.tags if not t.healthy],
    }
    return (f"{what}: {_and_more(names)}." for what, names in troubled.items() if names)


def _and_more(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
