"""An explicit-state model of the fleet's protocol: every interleaving within small bounds.

The rules are those of `docs/correctness.md`: reserve, claim, repair, surrender and give-back, with
a database that may be set back, statements that are executed late or not at all, and messages that
wait in queues for any time. `check` walks through all states that can be reached and looks for an
id that goes out twice. The rules that make that impossible can be broken one by one, to see that
it finds out.
"""

import gc
from dataclasses import dataclass, field

from tests.fleet_model import _essence, _state
from tests.fleet_model._essence import essence
from tests.fleet_model._state import (
    ECHO,
    NEVER,
    REFILLING,
    STEP,
    STREAM,
    Event,
    Events,
    Message,
    Phase,
    Segment,
    State,
    Worker,
    gone,
    put,
    same,
)


@dataclass(frozen=True)
class Bounds:
    """How much may happen, in all."""

    workers: int = 2
    refills: int = 3
    rewinds: int = 1
    stops: int = 1
    crashes: int = 0
    joiners: int = 0
    """How many of the workers are not there from the beginning."""
    witnesses: tuple[int, ...] = ()
    """Workers that only listen, and tell those who join."""
    segments: int = 2
    """How many a worker may hold."""
    fleet: bool = True
    """Whether workers may speak to each other."""
    patient: bool = True
    """Whether a worker that joins waits until all others have answered it.

    The code waits for a quarter of a second, and on while answers come in: this is what it hopes.
    """
    stream: bool = False
    """Whether the broker stores what is told, for workers that join to read to its end."""


@dataclass(frozen=True)
class Broken:
    """Rules that are not kept."""

    give_back_is_retried: bool = False
    surrender_lowers_every_end: bool = False
    no_claim: bool = False
    no_echo: bool = False
    repair_at_once: bool = False
    surrender_after_lowering: bool = False
    hearsay_beats_surrender: bool = False
    joiner_does_not_ask: bool = False
    reads_to_the_end_of_now: bool = False
    """A joiner takes what the stream has, whether its hello is there already or not."""


@dataclass
class Findings:
    """What a walk through the states saw."""

    states: int = 0
    duplicate: list[str] | None = None
    """The shortest way to an id that goes out twice."""
    false_repair: list[str] | None = None
    """The shortest way to a repair although the database was never set back."""
    repairs: int = 0
    given_back: int = 0
    contested: int = 0
    late_hits: int = 0


@dataclass
class Model:
    """The rules, within bounds."""

    bounds: Bounds = field(default_factory=Bounds)
    broken: Broken = field(default_factory=Broken)
    found: Findings = field(default_factory=Findings)
    whole: bool = False
    """Whether to visit also what leads to nothing new: states, and orders of the same things."""

    def start(self) -> State:
        """Begin with a fresh tag, whose first id is 1, and workers that know nothing of it."""
        bounds = self.bounds
        worker = same(Worker(ends=(0,) * bounds.workers, finals=(NEVER,) * bounds.workers))
        absent = same(worker.but(phase=Phase.ABSENT))
        return State(
            1,
            (worker,) * (bounds.workers - bounds.joiners) + (absent,) * bounds.joiners,
            0,
            (),
            (0,) * bounds.workers,
            bounds.refills,
            bounds.rewinds,
            bounds.stops,
            bounds.crashes,
        )

    def check(self) -> Findings:
        """Visit every state, breadth first.

        States are never in circles, so looking for garbage among them, again and again, finds none.
        """
        enabled = gc.isenabled()
        gc.disable()
        _state.forget()
        _essence.forget()
        try:
            return self._visit_all()
        finally:
            if enabled:
                gc.enable()

    def _visit_all(self) -> Findings:
        start = self.start()
        parents: dict[State, tuple[State, Event] | None] = {start: None}
        frontier = [start]
        while frontier and self.found.duplicate is None:
            following: list[State] = []
            for state in frontier:
                for what, successor in self.successors(state):
                    if successor is None:
                        self._note(parents, state, what)
                    else:
                        link = (state, what)
                        kept = successor if self.whole else essence(successor)
                        if parents.setdefault(kept, link) is link:
                            following.append(kept)
            frontier = following
        self.found.states = len(parents)
        return self.found

    def _note(
        self, parents: dict[State, tuple[State, Event] | None], state: State, what: Event
    ) -> None:
        way = [_said(what)]
        link = parents[state]
        while link is not None:
            way.append(_said(link[1]))
            link = parents[link[0]]
        way.reverse()
        if "twice!" in what:
            self.found.duplicate = self.found.duplicate or way
        else:
            self.found.false_repair = self.found.false_repair or way

    # What can happen

    def successors(self, state: State) -> Events:
        """Name each thing that can happen next, and what comes of it.

        Where nobody stops any more, ids in memory are handed out before all else: whatever happens
        before can happen after it as well, and who hands one out twice does it in any order.
        """
        if not (state.stops or self.whole):
            for number, worker in enumerate(state.workers):
                if worker.phase is Phase.IDLE and worker.held:
                    yield from self._hand_out(state, number, worker)
                    return
        yield from self._database(state)
        for number, worker in enumerate(state.workers):
            if worker.phase is Phase.GONE:
                continue
            if worker.phase is Phase.ABSENT:
                yield (number, "joins"), self._join(state, number, worker)
                continue
            if worker.inbox:
                yield (number, "hears", worker.inbox[0]), self._hear(state, number, worker)
            yield from self._step(state, number, worker)
            if state.crashes and number not in self.bounds.witnesses:
                crashed = state._replace(crashes=state.crashes - 1)
                yield (number, "crashes"), put(crashed, number, gone(worker))

    def _database(self, state: State) -> Events:
        if state.rewinds:
            for row in range(1, state.row):
                yield ("set back to", row), state._replace(row=row, rewinds=state.rewinds - 1)
        for job in state.late:
            left, right, times = job
            rest = tuple(other for other in state.late if other is not job)
            if times > 1:
                rest = (*rest, (left, right, times - 1))
            row = left if state.row == right else state.row
            self.found.late_hits += row != state.row
            yield ("late lowering", right, "to", left), state._replace(row=row, late=rest)

    def _step(self, state: State, number: int, worker: Worker) -> Events:
        match worker.phase:
            case Phase.IDLE:
                yield from self._idle(state, number, worker)
            case Phase.SELECT:
                yield (number, "reads", state.row), self._select(state, number, worker)
            case Phase.UPDATE:
                yield from self._update(state, number, worker)
            case Phase.JOIN if not worker.untold:
                yield from self._gather(state, number, worker)
            case Phase.TELL | Phase.SURRENDER | Phase.JOIN:
                for other in worker.untold:
                    if worker.phase is Phase.JOIN and _is_overtaking(state, number, other):
                        continue
                    yield (number, "tells", other), self._tell(state, number, worker, other)
            case Phase.LOWER:
                yield from self._lower(state, number, worker)

    def _idle(self, state: State, number: int, worker: Worker) -> Events:
        if worker.held:
            yield from self._hand_out(state, number, worker)
        turn = worker.begun or all(
            other.begun or other.phase is not Phase.IDLE or place in self.bounds.witnesses
            for place, other in enumerate(state.workers[:number])
        )  # workers are alike: it is enough to look at one order of their first refills
        may = turn and number not in self.bounds.witnesses
        if state.refills and len(worker.held) < self.bounds.segments and may:
            begun = worker.but(phase=Phase.SELECT, floor=max(worker.ends), begun=True)
            yield (
                (number, "refills above", begun.floor),
                put(state, number, begun)._replace(refills=state.refills - 1),
            )
        if state.stops and worker.held:
            stopping = state._replace(stops=state.stops - 1)
            yield (number, "stops"), self._surrender(stopping, number, worker)

    def _hand_out(self, state: State, number: int, worker: Worker) -> Events:
        (left, right), *others = worker.held
        if state.used >> left & 1:
            yield (number, "hands out", left, "twice!"), None
        rest = ((left + 1, right), *others) if left + 1 < right else tuple(others)
        handed_out = state._replace(used=state.used | 1 << left)
        yield (number, "hands out", left), put(handed_out, number, worker.but(held=rest))

    # Reserving

    def _select(self, state: State, number: int, worker: Worker) -> State:
        row = state.row
        if row < worker.floor and row != worker.suspected and not self.broken.repair_at_once:
            suspecting = worker.but(
                phase=Phase.SUSPECT, seen=row, inbox=(*worker.inbox, Message("e"))
            )
            return put(state, number, suspecting)
        return put(state, number, worker.but(phase=Phase.UPDATE, seen=row))

    def _update(self, state: State, number: int, worker: Worker) -> Events:
        """Execute the statement that belongs to what was read; it finds the row as it is now."""
        repair = worker.seen < worker.floor
        if (state.row != worker.seen) if repair else (state.row < worker.floor):
            yield (number, "reads again"), put(state, number, worker.but(phase=Phase.SELECT))
            return
        if repair:
            self.found.repairs += 1
            if state.rewinds == self.bounds.rewinds:
                yield (number, "repairs what was never set back!"), None
        left = worker.floor if repair else state.row
        segment = (left, left + STEP)
        reserved = state._replace(row=left + STEP)
        if self.broken.no_claim or not self.bounds.fleet:
            held = _idle(worker).but(held=(*worker.held, segment))
            reserved = put(reserved, number, _raised(held, number, left + STEP))
            if self.bounds.fleet:
                reserved = _tell_all(reserved, number, segment)
            yield (number, "reserves", segment), reserved
            return
        telling = worker.but(
            phase=Phase.TELL,
            segment=segment,
            untold=self._audience(state, number),
            told_to=_others(state, number) if self.bounds.joiners else (),
        )
        yield (
            (number, "reserves", segment),
            self._told(put(reserved, number, _raised(telling, number, left + STEP)), number),
        )
        yield (number, "reserves", segment, ", unheard"), put(reserved, number, _idle(worker))

    def _tell(self, state: State, number: int, worker: Worker, other: int) -> State:
        kind = {Phase.TELL: "r", Phase.SURRENDER: "s", Phase.JOIN: "h"}[worker.phase]
        if other == STREAM:
            state = _store(state, number, worker)
        elif state.workers[other].phase is not Phase.GONE:
            listener = state.workers[other]
            message = Message(kind, number, *worker.segment)
            state = put(state, other, listener.but(inbox=(*listener.inbox, message)))
        untold = tuple(one for one in worker.untold if one != other)
        return self._told(put(state, number, worker.but(untold=untold)), number)

    def _told(self, state: State, number: int) -> State:
        """Go on once the broker has confirmed: the message is in all queues."""
        worker = state.workers[number]
        if worker.untold or worker.phase is Phase.JOIN:
            return state
        if worker.phase is Phase.SURRENDER:
            if self.broken.surrender_after_lowering:
                return self._next_tail(state, number)
            return put(state, number, worker.but(phase=Phase.LOWER))
        worker = worker.but(told_to=())
        claiming = worker.but(phase=Phase.CLAIM, inbox=(*worker.inbox, ECHO))
        if self.broken.no_echo:
            return self._end_claim(state, number, worker)
        return put(state, number, claiming)

    def _end_claim(self, state: State, number: int, worker: Worker) -> State:
        left, right = worker.segment
        contested = any(start < right and left < end for _, start, end in worker.rivals)
        self.found.contested += contested
        held = worker.held if contested else (*worker.held, worker.segment)
        return put(state, number, _idle(worker).but(held=held))

    # Hearing

    def _hear(self, state: State, number: int, worker: Worker) -> State:
        message, *rest = worker.inbox
        worker = worker.but(inbox=tuple(rest))
        if message.kind == "e":
            if worker.phase is Phase.CLAIM:
                return self._end_claim(state, number, worker)
            looking = worker.but(
                phase=Phase.SELECT, floor=max(worker.ends), suspected=worker.seen, rivals=()
            )
            return put(state, number, looking)
        if message.kind == "h":
            return self._answer(put(state, number, worker), number, message.worker)
        if message.kind == "m":
            return put(state, number, self._hear_marks(worker, message))
        teller, left, right = message.worker, message.left, message.right
        if message.kind == "r":
            worker = _raised(worker, teller, right)
            if worker.phase in REFILLING:
                worker = worker.but(rivals=(*worker.rivals, (teller, left, right)))
            return put(state, number, worker)
        return put(state, number, self._hear_surrender(worker, teller, left, right))

    def _hear_surrender(self, worker: Worker, teller: int, left: int, right: int) -> Worker:
        if self.broken.surrender_lowers_every_end:
            return worker.but(ends=tuple(min(end, left) for end in worker.ends))
        finals = list(worker.finals)
        finals[teller] = left
        worker = worker.but(finals=tuple(finals))
        if worker.ends[teller] == right:
            ends = list(worker.ends)
            ends[teller] = left
            worker = worker.but(ends=tuple(ends))
        rivals = tuple(
            (who, start, max(start, left) if who == teller and end == right else end)
            for who, start, end in worker.rivals
        )
        return worker.but(rivals=rivals)

    # Joining

    def _join(self, state: State, number: int, worker: Worker) -> State:
        """Bind the queue; from here on every message comes in."""
        others = _others(state, number)
        if self.broken.joiner_does_not_ask:
            return put(state, number, worker.but(phase=Phase.IDLE))
        reads = self.bounds.stream
        asking = worker.but(
            phase=Phase.JOIN,
            untold=others if self.broken.reads_to_the_end_of_now else self._audience(state, number),
            unheard=others,
            reads=reads,
        )
        return put(state, number, asking)

    def _gather(self, state: State, number: int, worker: Worker) -> Events:
        """Go on once enough is known."""
        waits_for = set(worker.unheard) & set(_others(state, number))
        if worker.reads:
            yield (number, "reads the stream"), self._read(state, number, worker)
        elif not waits_for or not self.bounds.patient:
            ready = worker.but(phase=Phase.IDLE, unheard=())
            yield (number, "is ready"), put(state, number, ready)

    def _read(self, state: State, number: int, worker: Worker) -> State:
        """Take in what is stored, up to its own hello at least.

        What was routed before its queue was bound, and so comes to it nowhere else, is stored
        before that. To read to what is the end just now is not enough.
        """
        ends = tuple(map(max, worker.ends, map(min, state.stored, worker.finals)))
        return put(state, number, worker.but(ends=ends, reads=False))

    def _audience(self, state: State, number: int) -> tuple[int, ...]:
        """Name all that a message goes to, each at a time of its own."""
        stream = (STREAM,) if self.bounds.stream else ()
        return (*_others(state, number), *stream)

    def _answer(self, state: State, number: int, joiner: int) -> State:
        asking = state.workers[joiner]
        if asking.phase is Phase.GONE:
            return state
        message = Message("m", number, ends=state.workers[number].ends)
        return put(state, joiner, asking.but(inbox=(*asking.inbox, message)))

    def _hear_marks(self, worker: Worker, message: Message) -> Worker:
        told = message.ends
        if not self.broken.hearsay_beats_surrender:
            told = tuple(map(min, told, worker.finals))
        unheard = tuple(one for one in worker.unheard if one != message.worker)
        return worker.but(ends=tuple(map(max, worker.ends, told)), unheard=unheard)

    # Giving back

    def _surrender(self, state: State, number: int, worker: Worker) -> State:
        """Take the last ids that hang together out of memory, and begin to tell it."""
        *others, (left, right) = worker.held
        while others and others[-1][1] == left:
            left, _ = others.pop()
        surrendering = self._hear_surrender(worker, number, left, right).but(
            phase=Phase.SURRENDER,
            held=tuple(others),
            segment=(left, right),
            untold=self._audience(state, number),
            told_to=_others(state, number) if self.bounds.joiners else (),
        )
        if not self.bounds.fleet:
            surrendering = surrendering.but(untold=())
        if self.broken.surrender_after_lowering:
            return put(state, number, surrendering.but(phase=Phase.LOWER))
        return self._told(put(state, number, surrendering), number)

    def _lower(self, state: State, number: int, worker: Worker) -> Events:
        left, right = worker.segment
        if state.row == right:
            self.found.given_back += 1
            lowered = state._replace(row=left)
            if self.broken.surrender_after_lowering:
                telling = worker.but(phase=Phase.SURRENDER)
                yield (number, "gives back"), self._told(put(lowered, number, telling), number)
                return
            yield (number, "gives back (", left, ",", right, ")"), self._next_tail(lowered, number)
        else:
            yield (number, "gives nothing back"), put(state, number, gone(worker))
        times = 2 if self.broken.give_back_is_retried else 1
        late = (*state.late, (left, right, times))
        yield (
            (number, "hears nothing of its giving back"),
            put(state._replace(late=late), number, gone(worker)),
        )

    def _next_tail(self, state: State, number: int) -> State:
        worker = state.workers[number]
        if not worker.held:
            return put(state, number, gone(worker))
        return self._surrender(state, number, worker)


def _said(what: Event) -> str:
    return " ".join(map(str, what))


def _store(state: State, number: int, worker: Worker) -> State:
    """Store a message of a worker: what it has reserved, or surrendered."""
    left, right = worker.segment
    stored = list(state.stored)
    if worker.phase is Phase.TELL:
        stored[number] = max(stored[number], right)
    elif worker.phase is Phase.SURRENDER and stored[number] == right:
        stored[number] = left
    return state._replace(stored=tuple(stored))


def _raised(worker: Worker, number: int, end: int) -> Worker:
    ends = list(worker.ends)
    ends[number] = max(ends[number], end)
    return worker.but(ends=tuple(ends))


def _idle(worker: Worker) -> Worker:
    """Leave nothing of a refill that could tell two states apart."""
    return worker.but(phase=Phase.IDLE, floor=0, seen=-1, suspected=-1, segment=(0, 0), rivals=())


def _others(state: State, number: int) -> tuple[int, ...]:
    return tuple(
        other
        for other, worker in enumerate(state.workers)
        if other != number and worker.phase not in (Phase.GONE, Phase.ABSENT)
    )


def _is_overtaking(state: State, joiner: int, other: int) -> bool:
    """Whether a message that was routed before a queue was bound is still on its way to `other`.

    The broker puts it there before what the owner of that queue says afterwards.
    """
    return any(
        other in worker.untold and joiner not in worker.told_to
        for worker in state.workers
        if worker.phase in (Phase.TELL, Phase.SURRENDER)
    )


def _tell_all(state: State, number: int, segment: Segment) -> State:
    for other in _others(state, number):
        listener = state.workers[other]
        inbox = (*listener.inbox, Message("r", number, *segment))
        state = put(state, other, listener.but(inbox=inbox))
    return state
