"""Works out what the fleet did between two polls of its health."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from idalloc_schemas import HealthReply, TagHealth, TagState
from idalloc_worker.counters import REFUSED, Event, Outcome

_SAME: Final = 0.01
"""Seconds by which the ages of one answer may differ that was told twice."""

GONE_FOR: Final = 30.0
"""Seconds for which a worker that does not answer any more is still shown."""

_ERRORS: Final = (*REFUSED.values(), Outcome.LIMITED)
_NEVER_HEARD_OF: Final = "a state of a later version"
_MILDEST_FIRST: Final = (
    *(TagState.COLD, "standby", TagState.READY, _NEVER_HEARD_OF),
    *(TagState.REFILLING, TagState.FAILING, TagState.REFUSED),
)
_NOT_HELD: Final = (TagState.COLD, "standby")


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's answer, and when the fleet was asked for it, in monotonic seconds."""

    reply: HealthReply
    at: float

    def elapsed_since(self, earlier: "Answer | None") -> float:
        """Tell how many seconds lie between what two answers tell; 0 if they are the same one."""
        if earlier is None:
            return 0.0
        elapsed = self._made - earlier._made  # noqa: SLF001  # its own kind
        return elapsed if elapsed > _SAME else 0.0

    @property
    def _made(self) -> float:
        return self.at - (self.reply.age_ms or 0) / 1000


@dataclass(frozen=True, slots=True)
class Poll:
    """What is known of each worker, by its name, once the fleet was asked at `at`."""

    at: float
    answers: Mapping[str, Answer]

    def then(self, at: float, replies: Iterable[HealthReply]) -> "Poll":
        """Put newer answers in place of older ones; those long gone are forgotten."""
        oldest = min(at - GONE_FOR, self.at)
        kept = {name: one for name, one in self.answers.items() if one.at >= oldest}
        return Poll(at, kept | {reply.worker: Answer(reply, at) for reply in replies})


@dataclass(frozen=True, slots=True)
class Buffers:
    """What one worker holds of a tag."""

    worker: str
    state: str
    segments: tuple[int, ...]
    """How many ids are left of each segment; the first one is in use."""
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRow:
    """A tag over all workers that answered."""

    app_tag: str
    rate: float
    """Ids handed out per second."""
    left: int
    cover: float | None
    """Seconds that the ids last where they last shortest; None if nobody asks for any."""
    waiters: int
    workers: int
    """How many hold ids of it, or are about to."""
    refills: float
    """Segments per second."""
    state: str
    """The worst of the workers."""
    last_error: str | None
    healthy: bool
    """Whether no worker is in trouble with it, even if that one has ids left."""
    buffers: tuple[Buffers, ...] = ()
    """Of each worker that holds ids of it, or is about to."""
    partition: int | None = None
    """Of an ordered tag."""
    owner: str | None = None
    """The worker that owns the partition; None while it changes hands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker process. Rates are per second, and 0 if it did not answer this time."""

    name: str
    requests: float = 0.0
    """Requests for ids."""
    granted: float = 0.0
    errors: float = 0.0
    refills: float = 0.0
    rewinds_repaired: int = 0
    """Since the worker started; the other counts are rates."""
    database: bool | None = None
    """Whether the database could be used when it was last needed; None if it was not yet."""
    protected: bool | None = None
    last_error: str | None = None
    age: float = 0.0
    """Seconds since its last answer was asked for."""
    gone: bool = False
    """Whether it did not answer twice; what it held is in no sum then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All that is shown, tags by their rate and workers by their name."""

    tags: list[TagRow]
    workers: list[WorkerRow]
    tags_unlisted: int
    """Tags that a worker holds beyond those that fit into its answer; of the worker with most."""

    @property
    def present(self) -> list[WorkerRow]:
        """The workers that are not gone."""
        return [worker for worker in self.workers if not worker.gone]


def compare(before: Poll, after: Poll) -> Table:
    """Tell what happened between two polls, of which `after` came later."""
    tags: defaultdict[str, _Sum] = defaultdict(_Sum)
    workers, unlisted = [], 0
    for name, answer in sorted(after.answers.items()):
        age = after.at - answer.at
        if answer.at < before.at:
            workers.append(WorkerRow(name=name, age=age, gone=True))
            continue
        reply, earlier = answer.reply, before.answers.get(name)
        workers.append(_worker_row(answer, earlier, age))
        unlisted = max(unlisted, reply.tags_total - len(reply.tags))
        seen = {} if earlier is None else {tag.app_tag: tag for tag in earlier.reply.tags}
        elapsed = answer.elapsed_since(earlier)
        for tag in reply.tags:
            tags[tag.app_tag].add(name, tag, seen.get(tag.app_tag), elapsed)
    rows = [one.row(app_tag) for app_tag, one in tags.items()]
    rows.sort(key=lambda row: (-row.rate, row.app_tag))
    return Table(tags=rows, workers=workers, tags_unlisted=unlisted)


def _worker_row(answer: Answer, earlier: Answer | None, age: float) -> WorkerRow:
    reply, counters = answer.reply, answer.reply.counters
    seen = {} if earlier is None else earlier.reply.counters
    elapsed = answer.elapsed_since(earlier)

    def per_second(*names: str) -> float:
        return sum(_per_second(counters.get(name, 0), seen.get(name, 0), elapsed) for name in names)

    return WorkerRow(
        name=reply.worker,
        # Looking at health is a request as well, and `top` itself does so all the time.
        requests=max(
            per_second(Event.REQUESTS) - per_second(Outcome.ANSWERED, Outcome.DROPPED), 0.0
        ),
        granted=per_second(Outcome.GRANTED),
        errors=per_second(*_ERRORS),
        refills=per_second(Event.REFILLS),
        rewinds_repaired=counters.get(Event.REWINDS_REPAIRED, 0),
        database=reply.database,
        protected=reply.protected,
        age=age,
        last_error=next(
            (f"{tag.app_tag}: {tag.last_error}" for tag in reply.tags if tag.last_error), None
        ),
    )


def _per_second(now: int, before: int, elapsed: float) -> float:
    """Turn two readings of a counter into a rate; one that fell began again at 0."""
    return (now - before if now >= before else now) / elapsed if elapsed > 0 else 0.0


@dataclass(slots=True)
class _Sum:
    """Adds up one tag."""

    rate: float = 0.0
    refills: float = 0.0
    tags: list[TagHealth] = field(default_factory=list)
    buffers: list[Buffers] = field(default_factory=list)
    owner: str | None = None

    def add(self, worker: str, tag: TagHealth, seen: TagHealth | None, elapsed: float) -> None:
        self.tags.append(tag)
        if tag.state not in _NOT_HELD:
            lengths = tuple(right - left for left, right in tag.segments)
            self.buffers.append(Buffers(worker, str(tag.state), lengths, tag.step))
        if tag.partition is not None and tag.state != TagState.STANDBY:
            self.owner = worker
        if seen is None or elapsed <= 0:  # nothing to compare: the worker has an idea of its own
            self.rate += tag.rate
            return
        self.rate += _per_second(tag.ids_handed_out, seen.ids_handed_out, elapsed)
        self.refills += _per_second(tag.refills, seen.refills, elapsed)

    def row(self, app_tag: str) -> TagRow:
        tags = self.tags
        worst = max(tags, key=lambda tag: _severity(tag.state))
        return TagRow(
            app_tag=app_tag,
            rate=self.rate,
            left=sum(tag.left for tag in tags),
            cover=min((tag.cover for tag in tags if tag.cover is not None), default=None),
            waiters=sum(tag.waiters for tag in tags),
            workers=len(self.buffers),
            refills=self.refills,
            state=str(worst.state),
            last_error=worst.last_error or next((t.last_error for t in tags if t.last_error), None),
            healthy=all(tag.healthy for tag in tags) and _severity(worst.state) < _TROUBLE,
            buffers=tuple(self.buffers),
            partition=next((tag.partition for tag in tags if tag.partition is not None), None),
            owner=self.owner,
        )


def _severity(state: str) -> int:
    return _MILDEST_FIRST.index(state if state in _MILDEST_FIRST else _NEVER_HEARD_OF)


_TROUBLE: Final = _severity(TagState.FAILING)
