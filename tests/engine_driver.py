"""Plays callers, database and clock around one engine, by hand and without threads."""

from dataclasses import dataclass, field
from math import inf

from idalloc_schemas import RespCode, TagHealth
from idalloc_worker.engine._effects import (
    AbandonRefill,
    Answer,
    Answered,
    Denial,
    Expired,
    Range,
    Refused,
    StartRefill,
)
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from idalloc_worker.tags._id_space import end_of_space
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.tags._step_size import reservation_size

NOT_FOUND = Refused(RespCode.APP_TAG_NOT_FOUND, "app_tag not found")
EXHAUSTED = Refused(RespCode.EXHAUSTED, "the id space of this app_tag is used up")

ONE_BY_ONE = TagSettings(step=1)


@dataclass(eq=False)
class Call:
    """One request and what became of it: nothing yet, an answer, or `Expired`."""

    count: int
    deadline: float
    outcome: Answer | Expired | None = None
    ended_at: float = inf

    @property
    def waiting(self) -> bool:
        return self.outcome is None

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The ids; the test fails if there are none."""
        assert isinstance(self.outcome, tuple), self.outcome
        return self.outcome

    @property
    def id(self) -> int:
        """The one id that was asked for."""
        ((left, right),) = self.ranges
        assert right == left + 1
        return left

    @property
    def refusal(self) -> Refused:
        """Why there are no ids; the test fails if there are."""
        assert isinstance(self.outcome, Refused), self.outcome
        return self.outcome

    @property
    def code(self) -> RespCode:
        return self.refusal.code


@dataclass
class Row:
    """A row of the table."""

    step: int
    max_id: int = 0
    exact: bool = False
    """Reserve one step whatever is wanted, as the reference service does."""
    target_cover: float = 0.0
    """Seconds; 0 keeps the step fixed."""
    ceiling: int | None = None
    users: str | None = None

    @property
    def settings(self) -> TagSettings:
        users = None if self.users is None else frozenset(self.users.split())
        return TagSettings(
            step=self.step,
            target_cover=self.target_cover,
            ceiling=self.ceiling,
            allowed_users=users,
        )

    @property
    def space(self) -> int:
        return end_of_space(self.ceiling) - self.max_id

    def reserve(self, refill: StartRefill) -> Segment:
        left = max(self.max_id, refill.floor)
        size = reservation_size(self.settings, refill.demand, refill.want, self.space)
        self.max_id = left + (self.step if self.exact else size)
        return Segment(left, self.max_id)


@dataclass
class Driver:
    """An engine, and everything outside it that the test decides about."""

    limits: EngineLimits = field(default_factory=EngineLimits)
    jitter: float = 1.0
    rows: dict[str, Row] = field(default_factory=dict)
    now: float = 1000.0
    refills: list[StartRefill] = field(default_factory=list)
    """Those in flight, oldest first, also abandoned ones."""
    abandoned: list[int] = field(default_factory=list)
    started: list[tuple[float, StartRefill]] = field(default_factory=list)
    """All of them, and when they began."""

    def __post_init__(self) -> None:
        self.engine = Engine(self.limits, jitter=lambda: self.jitter)

    # Callers

    def ask(
        self,
        app_tag: str = "order",
        count: int = 1,
        *,
        patience: float = inf,
        user: str | None = None,
    ) -> Call:
        """Send one request."""
        call = Call(count, self.now + patience)
        answer = self.engine.take(
            app_tag, count, self.now, token=call, deadline=call.deadline, user=user
        )
        if answer is not None:
            self._end(call, answer)
        self._collect()
        return call

    def get(self, app_tag: str = "order", count: int = 1, *, user: str | None = None) -> Call:
        """Send one request and let the database answer all that comes of it."""
        call = self.ask(app_tag, count, user=user)
        self.settle()
        return call

    def health(self, app_tag: str = "order") -> TagHealth:
        """Ask for one tag's state; the test fails if that is refused."""
        answer = self.engine.health(self.now, app_tag)
        assert isinstance(answer, TagHealth)
        return answer

    def close(self) -> None:
        self.engine.close(self.now)
        self._collect()

    # The database

    def reserve(self, index: int = 0) -> bool:
        """Let a refill succeed as the row says, or be refused if there is none."""
        refill = self.refills.pop(index)
        row = self.rows.get(refill.app_tag)
        accepted = False
        if row is None:
            self.engine.refill_refused(refill.attempt, NOT_FOUND, self.now)
        elif refill.users is not None and not any(map(row.settings.allows, refill.users)):
            self.engine.settings_arrived(refill.attempt, row.settings, self.now)
        elif row.space < 1:
            self.engine.refill_refused(refill.attempt, EXHAUSTED, self.now, row.settings)
        else:
            segment = row.reserve(refill)
            accepted = self.engine.segment_arrived(refill.attempt, segment, row.settings, self.now)
        self._collect()
        return accepted

    def settle(self) -> None:
        """Let the database answer until nothing is in flight."""
        while self.refills:
            self.reserve()

    def arrive(self, left: int, right: int) -> bool:
        """Let a refill bring this very segment."""
        attempt = self.refills.pop(0).attempt
        accepted = self.engine.segment_arrived(attempt, Segment(left, right), ONE_BY_ONE, self.now)
        self._collect()
        return accepted

    def fail(self, *, possibly_reserved: int = 0) -> None:
        """Let a refill fail in a way that may pass."""
        attempt = self.refills.pop(0).attempt
        self.engine.refill_failed(
            attempt, "no connection", self.now, possibly_reserved=possibly_reserved
        )
        self._collect()

    def refuse(self, refusal: Denial) -> None:
        """Let the database say that there is nothing for the tag."""
        self.engine.refill_refused(self.refills.pop(0).attempt, refusal, self.now)
        self._collect()

    # The clock

    def advance(self, seconds: float) -> None:
        """Let time pass, waking the engine exactly when it asks for that."""
        end = self.now + seconds
        while self.engine.next_wakeup <= end:
            self.now = max(self.now, self.engine.next_wakeup)
            self.engine.tick(self.now)
            self._collect()
        self.now = end

    def fail_all(self, times: int) -> None:
        """Let that many refills of one tag fail, waiting for each."""
        for _ in range(times):
            while not self.refills:
                assert self.engine.next_wakeup < inf, "no refill is coming any more"
                self.advance(self.engine.next_wakeup - self.now)
            self.fail()

    def _collect(self) -> None:
        for effect in self.engine.effects():
            match effect:
                case StartRefill():
                    self.refills.append(effect)
                    self.started.append((self.now, effect))
                case AbandonRefill():
                    self.abandoned.append(effect.attempt)
                case Answered(Call() as call, answer):
                    self._end(call, answer)
                case Expired(Call() as call):
                    self._end(call, effect)

    def _end(self, call: Call, outcome: Answer | Expired) -> None:
        assert call.outcome is None, "answered twice"
        call.outcome = outcome
        call.ended_at = self.now


@dataclass
class OwnerDriver(Driver):
    """The same around the engine of an owner of partitions."""

    engine: OrderedEngine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = OrderedEngine(self.limits, jitter=lambda: self.jitter)

    def draw_elsewhere(self, count: int = 10, app_tag: str = "order") -> int:
        """Have somebody else reserve; tells up to where."""
        row = self.rows[app_tag]
        row.max_id += count
        return row.max_id
