"""The engine against a model of the database, under every order of events that Hypothesis finds."""

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from idalloc_schemas import RespCode
from idalloc_worker.engine._effects import (
    AbandonRefill,
    Answer,
    Answered,
    Expired,
    Redirected,
    Refused,
    StartRefill,
)
from idalloc_worker.engine._engine import Engine, EngineLimits
from idalloc_worker.tags._id_space import end_of_space
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.tags._step_size import reservation_size

LIMITS = EngineLimits(max_count=500, max_waiters=5, max_refusals=3)
USERS = (None, "shop", "billing", "intruder")
NAMES = st.sampled_from(["shop", "billing"])
TAGS = ("a", "b", "c", "d", "e", "f", "g")


@dataclass
class Request:
    """One call as its caller sees it."""

    app_tag: str
    count: int
    arrived: float
    deadline: float
    user: str | None
    outcomes: list[Answer | Expired] = field(default_factory=list)


@dataclass
class Row:
    """The database's row of a tag."""

    max_id: int
    step: int
    target_cover: float = 0.0
    ceiling: int | None = None
    users: frozenset[str] | None = None

    @property
    def settings(self) -> TagSettings:
        return TagSettings(
            step=self.step,
            target_cover=self.target_cover,
            ceiling=self.ceiling,
            allowed_users=self.users,
        )

    def space(self, floor: int) -> int:
        return end_of_space(self.ceiling) - max(self.max_id, floor)

    def reserve(self, refill: StartRefill) -> Segment:
        """Reserve as the store does; empty if there is nothing left."""
        left = max(self.max_id, refill.floor)
        space = max(self.space(refill.floor), 0)
        right = left + reservation_size(self.settings, refill.demand, refill.want, space)
        self.max_id = max(self.max_id, right) if space else self.max_id
        return Segment(left, right)


class EngineMachine(RuleBasedStateMachine):
    """Plays callers, database and clock."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(LIMITS, jitter=lambda: 0.5)
        self.now = 100.0
        self.rows = {
            "a": Row(0, 3, 60.0),
            "b": Row(0, 100),
            "c": Row(7, 1, 600.0, ceiling=60),
            "d": Row(0, 30, users=frozenset({"shop"})),
        }
        self.requests: list[Request] = []
        self.started: dict[int, StartRefill] = {}
        self.abandoned: set[int] = set()
        self.last_granted: dict[str, int] = defaultdict(int)
        self.settings: dict[str, TagSettings] = {}
        """As the engine was told them last."""
        self.closed = False

    # Events

    @rule(
        app_tag=st.sampled_from(TAGS),
        count=st.one_of(st.just(1), st.integers(1, 600)),
        patience=st.one_of(st.just(1000.0), st.floats(0.01, 3)),
        user=st.sampled_from(USERS),
    )
    def ask(self, app_tag: str, count: int, patience: float, user: str | None) -> None:
        request = Request(app_tag, count, self.now, self.now + patience, user)
        self.requests.append(request)
        answer = self.engine.take(
            app_tag, count, self.now, token=request, deadline=request.deadline, user=user
        )
        if answer is not None:
            self._note(request, answer)
        self._collect()

    @rule(app_tag=st.sampled_from(["a", "c", "d"]), user=st.sampled_from(USERS))
    def ask_for_one(self, app_tag: str, user: str | None) -> None:
        self.ask(app_tag, 1, 1000.0, user)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def all_segments_arrive(self, data: st.DataObject) -> None:
        for _ in range(len(self.started)):
            self.segment_arrives(data)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def segment_arrives(self, data: st.DataObject) -> None:
        refill = self._finish(data)
        row = self.rows.get(refill.app_tag)
        current = refill.attempt not in self.abandoned
        if row is None:
            refusal = Refused(RespCode.APP_TAG_NOT_FOUND, "app_tag not found")
            self.engine.refill_refused(refill.attempt, refusal, self.now)
            return self._collect()
        if current:
            self.settings[refill.app_tag] = row.settings
        if refill.users is not None and not any(map(row.settings.allows, refill.users)):
            self.engine.settings_arrived(refill.attempt, row.settings, self.now)
        elif row.space(refill.floor) < 1:
            refusal = Refused(RespCode.EXHAUSTED, "used up")
            self.engine.refill_refused(refill.attempt, refusal, self.now, row.settings)
        else:
            segment = row.reserve(refill)
            accepted = self.engine.segment_arrived(refill.attempt, segment, row.settings, self.now)
            assert accepted == current
        return self._collect()

    @precondition(lambda self: self.started)
    @rule(data=st.data(), commits=st.booleans())
    def refill_fails(self, data: st.DataObject, commits: bool) -> None:  # noqa: FBT001  # drawn
        refill = self._finish(data)
        row = self.rows.get(refill.app_tag)
        possibly = 0
        if commits and row is not None:  # the answer of the commit is lost
            possibly = row.reserve(refill).size
        self.engine.refill_failed(refill.attempt, "boom", self.now, possibly_reserved=possibly)
        self._collect()

    @rule(seconds=st.floats(0.001, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.engine.tick(self.now)
        self._collect()

    @rule(app_tag=st.sampled_from(["a", "b"]), by=st.integers(1, 1000))
    def database_is_rewound(self, app_tag: str, by: int) -> None:
        row = self.rows.get(app_tag)
        if row is not None:
            row.max_id = max(0, row.max_id - by)

    @rule(data=st.data(), app_tag=st.sampled_from(["a", "b", "c", "d"]))
    def operator_changes_a_row(self, data: st.DataObject, app_tag: str) -> None:
        row = self.rows.get(app_tag)
        if row is None:
            return
        match data.draw(st.sampled_from(["step", "cover", "ceiling", "users"])):
            case "step":
                row.step = data.draw(st.integers(1, 300))
            case "cover":
                row.target_cover = data.draw(st.sampled_from([0.0, 60.0, 600.0]))
            case "ceiling":
                near = st.integers(-120, 200).map(lambda above: max(1, row.max_id + above))
                row.ceiling = data.draw(st.one_of(st.none(), near))
            case "users":
                row.users = data.draw(st.one_of(st.none(), st.frozensets(NAMES, min_size=1)))

    @rule()
    def operator_deletes_or_restores_b(self) -> None:
        if self.rows.pop("b", None) is None:
            self.rows["b"] = Row(0, 50)

    @precondition(lambda self: len(self.requests) > 20)
    @rule()
    def close(self) -> None:
        self.closed = True
        self.engine.close(self.now)
        self._collect()

    # What must hold

    @invariant()
    def books_balance(self) -> None:
        for pool in self.engine.by_tag.values():
            assert pool.reserved == pool.handed_out + pool.remaining + pool.lost
            assert pool.remaining == sum(right - left for left, right in pool.held())

    @invariant()
    def nobody_waits_too_long(self) -> None:
        self.engine.tick(self.now)
        self._collect()
        for request in self.requests:
            waited = self.now - request.arrived
            if waited >= LIMITS.wait_timeout or self.now >= request.deadline or self.closed:
                assert len(request.outcomes) == 1, request

    @invariant()
    def limits_hold(self) -> None:
        unknown = 0
        for pool in self.engine.by_tag.values():
            assert pool.waiters <= LIMITS.max_waiters
            assert pool.remaining >= 0
            unknown += not pool.known
        assert unknown <= len(TAGS)
        assert len(self.engine._refusals) <= LIMITS.max_refusals

    @invariant()
    def whoever_waits_has_a_refill_coming(self) -> None:
        for pool in self.engine.by_tag.values():
            if pool.waiters:
                assert pool.attempt is not None or pool.retry_timer_at is not None, pool

    def teardown(self) -> None:
        """Let all time pass: every request has got exactly one outcome."""
        for _ in range(20):
            self.now += 1
            self.engine.tick(self.now)
            self._collect()
        assert all(len(request.outcomes) == 1 for request in self.requests)

    # Helpers

    def _finish(self, data: st.DataObject) -> StartRefill:
        return self.started.pop(data.draw(st.sampled_from(sorted(self.started))))

    def _collect(self) -> None:
        for effect in self.engine.effects():
            match effect:
                case StartRefill():
                    live = {
                        other.app_tag
                        for attempt, other in self.started.items()
                        if attempt not in self.abandoned
                    }
                    assert effect.app_tag not in live, "two refills of one tag in flight"
                    assert 1 <= effect.want <= LIMITS.max_count
                    assert not self.closed
                    self.started[effect.attempt] = effect
                case AbandonRefill():
                    self.abandoned.add(effect.attempt)
                case Answered():
                    assert isinstance(effect.waiter, Request)
                    self._note(effect.waiter, effect.answer)
                case Expired():
                    assert isinstance(effect.waiter, Request)
                    assert effect.waiter.deadline <= self.now
                    effect.waiter.outcomes.append(effect)

    def _note(self, request: Request, answer: Answer) -> None:
        assert not request.outcomes, "answered twice"
        request.outcomes.append(answer)
        if isinstance(answer, Redirected):
            return
        if isinstance(answer, Refused):
            assert answer.code is not RespCode.SUCCESS
            return
        assert isinstance(answer, tuple)
        assert self.now < request.deadline
        assert sum(right - left for left, right in answer) == request.count
        told = self.settings[request.app_tag]
        assert told.allows(request.user)
        assert answer[-1][1] <= end_of_space(told.ceiling)
        for left, right in answer:
            # Rising is more than unique: no id that was ever handed out lies above the next one.
            assert self.last_granted[request.app_tag] < left < right
            self.last_granted[request.app_tag] = right - 1


TestEngine = EngineMachine.TestCase
TestEngine.settings = hypothesis_settings(max_examples=200, stateful_step_count=60, deadline=None)
