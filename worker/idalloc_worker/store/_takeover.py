"""Takes counters of other id generators over: all that follows their last id, or a block of ids."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from idalloc_schemas import MAX_ID
from idalloc_worker.mysql import (
    COSID_COUNTERS,
    MOVE_COSID,
    MOVE_VITESS,
    VITESS_COUNTER,
)
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._tags import TagAdmin
from idalloc_worker.tags import StoreError, TagNotFoundError

_TRIES: Final = 100
"""How often a counter is read anew that others move while a block is to be cut out of it."""


class TakeoverError(StoreError):
    """A counter cannot be taken over; nothing was changed for it."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of another system: nobody has reserved `next_id`, nor any id above."""

    name: str
    next_id: int


class Counters(Protocol):
    """Where another system keeps its counters. Raises StoreError."""

    def read(self) -> Sequence[Counter]:
        """Tell how far each has come."""

    def cut(self, counter: Counter, size: int) -> bool:
        """Have its system go on `size` ids further up; False if it has moved meanwhile."""


@dataclass(frozen=True, slots=True)
class CosIdCounters:
    """The rows of CosId's table, by `namespace.name`; of all names if none is given."""

    session: AdminSession
    table: str
    names: Collection[str] = ()

    def read(self) -> Sequence[Counter]:
        rows = self.session.rows(COSID_COUNTERS.on_any(self.table), {})
        found = [Counter(_text(name), int(next_id)) for name, next_id in rows]
        if missing := {*self.names} - {counter.name for counter in found}:
            raise TakeoverError(f"table {self.table} has no row {', '.join(sorted(missing))}")
        return [one for one in found if not self.names or one.name in self.names]

    def cut(self, counter: Counter, size: int) -> bool:
        return _moved(self.session, MOVE_COSID.on_any(self.table), counter, size)


@dataclass(frozen=True, slots=True)
class VitessCounters:
    """Sequences of Vitess: each is a table with one counter."""

    session: AdminSession
    sequences: Sequence[str]

    def read(self) -> Sequence[Counter]:
        return [self._read(name) for name in self.sequences]

    def _read(self, name: str) -> Counter:
        rows = self.session.rows(VITESS_COUNTER.on_any(name), {})
        if not rows:
            raise TakeoverError(f"sequence {name} has no row whose id is 0")
        return Counter(name, int(rows[0][0]))

    def cut(self, counter: Counter, size: int) -> bool:
        return _moved(self.session, MOVE_VITESS.on_any(counter.name), counter, size)


def _moved(session: AdminSession, sql: str, counter: Counter, size: int) -> bool:
    next_id = counter.next_id + size
    arguments = {"name": counter.name, "seen": counter.next_id, "next_id": next_id}
    return session.change(sql, arguments) > 0


@dataclass(frozen=True, slots=True)
class CutCounters:
    """Counters that were read elsewhere: what is to be had of them is out of use already."""

    counters: Sequence[Counter]

    def read(self) -> Sequence[Counter]:
        return self.counters

    def cut(self, _counter: Counter, _size: int) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Takeover:
    """Ids of a tag: from `start` on, up to `ceiling` if there is one."""

    app_tag: str
    start: int
    ceiling: int | None
    new: bool


def take_over(  # noqa: PLR0913  # what the command was told
    admin: TagAdmin,
    counters: Counters,
    tag_of: Callable[[str], str],
    step: int,
    size: int | None,
    *,
    dry_run: bool,
) -> Iterator[Takeover]:
    """Give tags the ids above each counter; or `size` of them, above which its system goes on.

    Nothing is changed unless all can be. Raises StoreError.
    """
    found = counters.read()
    plans = [_planned(admin, tag_of(one.name), one, size) for one in found]
    if len({plan.app_tag for plan in plans}) < len(plans):
        raise TakeoverError("two counters would become one tag")
    for counter, plan in zip(found, plans, strict=True):
        if dry_run:
            yield plan
        else:
            cut = _cut_block(counters, counter, size) if size else counter
            carried_out = _planned(admin, plan.app_tag, cut, size)
            _carry_out(admin, carried_out, step)
            yield carried_out


def _planned(admin: TagAdmin, app_tag: str, counter: Counter, size: int | None) -> Takeover:
    end = counter.next_id + (size or 0)
    if counter.next_id < 0 or end > MAX_ID:
        raise TakeoverError(f"{counter.name} stands at {counter.next_id}, which leaves no ids")
    ceiling = end - 1 if size else None
    try:
        row = admin.show(app_tag)
    except TagNotFoundError:
        return Takeover(app_tag, counter.next_id, ceiling, new=True)
    if size and (not isinstance(row.max_id, int) or row.max_id > counter.next_id):
        raise TakeoverError(
            f"{app_tag} has come to {row.max_id}, which is above {counter.next_id}, where the "
            f"block of {counter.name} begins"
        )
    return Takeover(app_tag, counter.next_id, ceiling, new=False)


def _carry_out(admin: TagAdmin, plan: Takeover, step: int) -> None:
    """Add the tag, or move it; it is never lowered."""
    if plan.new:
        ceiling = {} if plan.ceiling is None else {"ceiling": plan.ceiling}
        admin.add(plan.app_tag, step, plan.start, ceiling)
    elif plan.ceiling is not None:
        admin.set(plan.app_tag, values={"max_id": plan.start, "ceiling": plan.ceiling})
    elif admin.raise_mark(plan.app_tag, plan.start).settings["ceiling"] is not None:
        admin.set(plan.app_tag, values={"ceiling": None})


def _cut_block(counters: Counters, counter: Counter, size: int) -> Counter:
    """Cut a block out of a counter that others use, and tell where it begins."""
    for _ in range(_TRIES):
        if counters.cut(counter, size):
            return counter
        [counter] = [one for one in counters.read() if one.name == counter.name]
    raise TakeoverError(f"{counter.name} moves all the time; nothing was changed")


def _text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)
