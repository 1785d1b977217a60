"""The refill threads of a worker, each statement a step of its own.

What a job does between two statements is what `SegmentStore` does; `test_simulation` holds the two
together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from idalloc_worker.engine._effects import StartRefill
from idalloc_worker.store._new_rows import Templates
from idalloc_worker.store._reservation import Plan, Reservation, Row, plan_for
from idalloc_worker.store._threads import GiveBack, Job, NotBegunError, RefillOutcome
from idalloc_worker.tags._errors import (
    OutcomeUnknownError,
    StoreError,
    StoreReason,
    StoreUnavailableError,
)
from tests.simulation._choices import Choices
from tests.simulation._database import Change, Database
from tests.simulation._flows import Flow, Flows
from tests.simulation._judge import Judge
from tests.simulation._weather import Weather

Steps = Iterator[None]


def lost(ids: int) -> OutcomeUnknownError:
    """Say that an answer did not come."""
    return OutcomeUnknownError(StoreReason.LOST_CONNECTION, "no answer", possibly_reserved=ids)


def _nobody_counts(_before: int, _after: int) -> None:
    """Stand in for who is told of a change."""


FAILED: Final = StoreUnavailableError(StoreReason.OTHER, "the statement failed")
BUSY: Final = StoreUnavailableError(StoreReason.OTHER, "others change the row all the time")


@dataclass(slots=True, eq=False)
class SimJob:
    """What a thread has to do; each step takes one turn in the schedule."""

    flow: Flow
    attempt: int | None = None
    abort: Callable[[], None] | None = None
    """Reports that it was interrupted."""
    sent: Change | None = None
    """A statement that is on its way."""


class SimStore:
    """What a job sees of the database."""

    def __init__(self, database: Database, judge: Judge, worker: str) -> None:
        self._database = database
        self._judge = judge
        self._worker = worker

    def read_marks(self, app_tags: tuple[str, ...]) -> dict[str, int]:
        """Read rows."""
        return {tag: self._database.rows[tag] for tag in app_tags}

    def existing(self, app_tags: tuple[str, ...]) -> frozenset[str]:
        """Tell which rows there are."""
        return frozenset(app_tags).intersection(self._database.rows)

    def raise_mark(self, app_tag: str, seen: int, floor: int) -> bool:
        """Raise a row."""

        def on_raised(before: int, after: int) -> None:
            self._judge.repaired(self._worker, f"raises {app_tag} from {before} to {after}")

        change = self._database.statement("raise", app_tag, on_raised, seen=seen, floor=floor)
        return change.change()

    def templates(self) -> Templates:
        """Read which rows others are made from: there are none."""
        return Templates({})

    def ordered_tags(self) -> dict[str, int]:
        """Read which tags are ordered, and how far they are reserved."""
        return {tag: self._database.rows[tag] for tag in self._database.ordered}


class SimRefillThreads:
    """As many threads as there are jobs. What they report may come at any time."""

    def __init__(  # noqa: PLR0917  # its surroundings
        self,
        worker: str,
        database: Database,
        choices: Choices,
        weather: Weather,
        judge: Judge,
        flows: Flows,
    ) -> None:
        self._worker = worker
        self._database = database
        self._choices = choices
        self._weather = weather
        self._judge = judge
        self._flows = flows
        self._store = SimStore(database, judge, worker)
        self._jobs: dict[Flow, SimJob] = {}
        self._held = False

    # What a worker asks for

    def refill(self, refill: StartRefill, report: Callable[[RefillOutcome], None]) -> None:
        """Reserve."""
        job = self._new_job()
        job.attempt = refill.attempt
        job.abort = lambda: report(RefillOutcome(refill, NotBegunError()))
        self._start(job, self._reserve(job, refill, report))

    def give_back(self, give_back: GiveBack) -> None:
        """Lower a row."""
        job = self._new_job()
        self._start(job, self._lower(job, give_back))

    def run(self, job: Job) -> None:
        """Do something else."""
        self._start(self._new_job(), self._do(job))

    def abandon(self, attempt: int) -> None:
        """Interrupt an attempt."""
        for job in list(self._jobs.values()):
            if job.attempt == attempt:
                self._interrupt(job)
                if job.abort is not None:
                    job.abort()

    def hold(self, *, held: bool) -> None:
        """Stand still, or go on."""
        self._held = held
        for flow in self._jobs:
            flow.hold(held=held)

    def die(self) -> None:
        """End: statements that were sent may still be executed, those that were not never."""
        for job in list(self._jobs.values()):
            self._interrupt(job)

    # How it is done

    def _new_job(self) -> SimJob:
        flow = Flow(self._flows)
        flow.held = self._held
        job = self._jobs[flow] = SimJob(flow)
        return job

    def _start(self, job: SimJob, steps: Steps) -> None:
        def go_on() -> None:
            if next(steps, steps) is None:
                job.flow.push(go_on)
            else:
                self._jobs.pop(job.flow, None)

        job.flow.push(go_on)

    def _interrupt(self, job: SimJob) -> None:
        job.flow.clear()
        self._jobs.pop(job.flow, None)
        if job.sent is not None and self._choices.below(2):
            self._database.late.append(job.sent)

    def _reserve(
        self, job: SimJob, refill: StartRefill, report: Callable[[RefillOutcome], None]
    ) -> Steps:
        def end(outcome: Reservation | Exception) -> None:
            report(RefillOutcome(refill, outcome))

        wanted = replace(refill, users=None)
        # At first in one statement, unless it is a repair; then while the row is locked.
        for locked in (False, True):
            try:
                plan = self._plan(wanted)
                if plan.rewound_from is not None and not locked:
                    continue
                job.sent = None if locked else self._reservation(refill.app_tag, plan)
                job.abort = partial(end, lost(plan.count))
                yield
                change = job.sent
                if change is None:
                    plan = self._plan(wanted)
                    change = self._reservation(refill.app_tag, plan)
            except StoreError as error:
                return end(error)
            job.sent = None
            fate = self._send(change)
            # Nobody counts what it reserves where all was given back meanwhile, and nobody has it.
            self._may_repeat(replace(change, on_changed=_nobody_counts))
            if isinstance(fate, Exception):
                yield
                return end(lost(plan.count) if isinstance(fate, OutcomeUnknownError) else fate)
            if fate:
                return end(plan.reserved(plan.count))
        return end(BUSY)

    def _plan(self, wanted: StartRefill) -> Plan:
        database, tag = self._database, wanted.app_tag
        return plan_for(wanted, Row(database.rows[tag], database.settings[tag], {}))

    def _reservation(self, app_tag: str, plan: Plan) -> Change:
        def on_changed(before: int, after: int) -> None:
            self._judge.reserved(self._worker, app_tag, plan.left, after)
            if plan.rewound_from is not None:
                what = f"repairs {app_tag} from {before} to {plan.left}"
                self._judge.repaired(self._worker, what)

        seen, mark = plan.row.max_id, plan.left + plan.count
        return self._database.statement("reserve", app_tag, on_changed, seen=seen, mark=mark)

    def _lower(self, job: SimJob, give_back: GiveBack) -> Steps:
        if self._database.rows[give_back.app_tag] != give_back.right:
            return give_back.report(False)  # noqa: FBT003  # as the real one
        change = job.sent = self._database.statement(
            "give back",
            give_back.app_tag,
            self._judge.given_back,
            left=give_back.left,
            right=give_back.right,
            session=1,
            here=1,
        )
        yield
        job.sent = None
        fate = self._send(change)
        self._may_repeat(replace(change, given={**change.given, "here": 2}))
        yield
        return give_back.report(fate)

    def _may_repeat(self, change: Change) -> None:
        """Have a proxy send a statement again, in another session, some time."""
        if self._choices.chance(self._weather.statements_repeated):
            self._database.late.append(change)

    def _do(self, job: Job) -> Steps:
        if self._choices.chance(self._weather.statements_fail):
            outcome: object = FAILED
        else:
            outcome = job.work(self._store)  # type: ignore[arg-type]  # the parts it uses
        yield
        job.report(outcome)

    def _send(self, change: Change) -> bool | StoreUnavailableError:
        """Execute a statement; if its answer is lost it may be executed now, later or never."""
        if self._choices.chance(self._weather.statements_fail):
            return FAILED
        if not self._choices.chance(self._weather.answers_lost):
            return change.change()
        match self._choices.below(3):
            case 0:
                change.change()
            case 1:
                self._database.late.append(change)
        return lost(0)
