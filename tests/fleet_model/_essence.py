"""Leaves out of a state what nobody can act upon any more, so that fewer are to be visited.

Once all refills have begun, few workers look at what they hear. The way to a fault is the same
without it, as no fault needs more than refills that go on, the statements that reach their row, and
ids to hand out.
"""

from functools import cache

from tests.fleet_model._state import (
    ECHO,
    NEVER,
    READING,
    REFILLING,
    Phase,
    State,
    Worker,
    gone,
    same,
)


def essence(state: State) -> State:
    """Return a state in which the same faults can be reached."""
    if state.refills:
        return state
    workers = tuple(map(_with_its_refill, state.workers))
    state = state._replace(workers=workers, stored=(0,) * len(workers))
    if any(worker.phase in READING for worker in workers):
        return state
    workers = tuple(map(_without_the_row, workers))
    rowless = State(1, workers, state.used, (), state.stored, 0, 0, state.stops, state.crashes)
    if any(worker.phase in REFILLING for worker in workers):
        return rowless
    return rowless._replace(workers=tuple(map(_at_its_end, workers)), stops=0, crashes=0)


@cache
def _with_its_refill(worker: Worker) -> Worker:
    """Leave only what matters to a worker that begins no further refill."""
    nothing = gone(worker)
    if worker.phase in READING:
        return worker
    if worker.phase in (Phase.ABSENT, Phase.JOIN):
        return same(nothing)
    unknown = worker.but(ends=nothing.ends, finals=(NEVER,) * len(worker.ends))
    if worker.phase in REFILLING:
        left, right = worker.segment
        rivals = tuple(one for one in worker.rivals if one[1] < right and left < one[2])
        echo = ECHO in worker.inbox
        heard = worker.inbox[: worker.inbox.index(ECHO) + 1] if echo else worker.inbox
        return same(unknown.but(floor=0, seen=-1, suspected=-1, rivals=rivals, inbox=heard))
    busy = worker.held or worker.phase is not Phase.IDLE
    return same(unknown.but(inbox=()) if busy else nothing)


@cache
def _without_the_row(worker: Worker) -> Worker:
    """Leave out a give-back that reaches nobody."""
    return same(gone(worker)) if worker.phase is Phase.LOWER and not worker.held else worker


@cache
def _at_its_end(worker: Worker) -> Worker:
    """Leave only what it will hand out."""
    held = worker.held if worker.phase is Phase.IDLE else ()
    nothing = gone(worker)
    return same(nothing.but(phase=Phase.IDLE, held=held) if held else nothing)


def forget() -> None:
    """Begin anew, as the states do."""
    for known in (_with_its_refill, _without_the_row, _at_its_end):
        known.cache_clear()
