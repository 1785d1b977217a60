"""Says in JSON what the page shows."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from idalloc_worker.survey import Table, TagRow, View, WorkerRow

_NAMED = 3  # workers that an alarm names; the table has all


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
    if gone := [worker for worker in table.workers if worker.gone]:
        yield f"{_names(gone)} does not answer any more."
    if cut_off := [worker for worker in table.present if worker.database is False]:
        yield f"{_names(cut_off)} could not use the database when it was last needed."
    if alone := [worker for worker in table.present if worker.protected is False]:
        yield (
            f"{_names(alone)} is not protected against a database that is set back: see its log."
        )
    if failing := [tag for tag in table.tags if not tag.healthy]:
        names = ", ".join(tag.app_tag for tag in failing[:_NAMED])
        yield f"{_and_more(names, len(failing))}: in trouble, see the last error below."


def _names(workers: list[WorkerRow]) -> str:
    return _and_more(", ".join(worker.name for worker in workers[:_NAMED]), len(workers))


def _and_more(names: str, count: int) -> str:
    return f"{names} and {count - _NAMED} more" if count > _NAMED else names
