"""The counters behind the fake clients: they answer as a worker does."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from idalloc_client._batch import IdBatch, PeriodError
from idalloc_client._errors import (
    CallTimeoutError,
    IdAllocError,
    RefusedError,
    fresh,
    refused,
)
from idalloc_client._memory import Locks
from idalloc_client._retry import SHORTEST, Refusals, can_pass
from idalloc_client._rpc import RawReply, RequestSpec, check_draw
from idalloc_schemas import (
    MAX_ID,
    ErrorReply,
    HealthReply,
    Period,
    RespCode,
    TagHealth,
    TagState,
    parse_health_request,
)

WORKER: Final = "fake"
_Result = TypeVar("_Result")
_MAX_COUNT: Final = 1_000_000  # what a worker allows unless it is configured otherwise

_REFUSALS: Final[Mapping[RespCode, tuple[str, int | None]]] = {
    RespCode.NO_AVAILABLE_ID: ("no available id", 100),
    RespCode.INVALID_REQUEST: ("the request breaks the contract", None),
    RespCode.APP_TAG_NOT_FOUND: ("app_tag not found", None),
    RespCode.EXHAUSTED: ("the id space of this app_tag is used up", None),
    RespCode.FORBIDDEN: ("forbidden", None),
    RespCode.BUSY: ("too many requests wait for this app_tag", 100),
    RespCode.SHUTTING_DOWN: ("the worker is shutting down", 100),
    RespCode.INTERNAL: ("the row of this app_tag is invalid", None),
}
"""What a worker says with each code: its words, and milliseconds where a retry can help."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long a call may take: really, and by its own clock."""

    deadline: float
    timeout: float

    @classmethod
    def of(cls, timeout: float) -> "TimeLimits":
        return cls(time.monotonic() + timeout, timeout)


@dataclass(slots=True, eq=False)
class _Failure:
    error: IdAllocError | RespCode
    times: int
    app_tag: str | None


class FakeWorker:
    """Answers as a worker does. Its locks guard everything in it."""

    def __init__(
        self,
        tags: Mapping[str, int],
        *,
        any_tag: bool,
        segment: int | None,
        periods: Mapping[str, str],
    ) -> None:
        for app_tag, first in tags.items():
            check_draw(app_tag)
            if not 1 <= first < MAX_ID:
                raise ValueError(f"the first id of {app_tag!r} must be from 1 to {MAX_ID - 1}")
        if segment is not None and segment < 1:
            raise ValueError("segment must be at least 1")
        self._locks = Locks()  # a child's copy could be locked for ever
        self._first_ids = dict(tags)
        self._periods: dict[str, Period] = {}  # those in which it is now
        for app_tag, period in periods.items():
            check_draw(app_tag)
            self._first_ids.setdefault(app_tag, 1)
            self._periods[app_tag] = Period.parse(period)
        self._any_tag = any_tag
        self._segment = segment
        self._counters: dict[str, _Counter] = {}  # of the tags that were drawn from
        self.not_found: set[str] = set()
        """Tags that do not exist, and that ids were asked of."""
        self._failures: list[_Failure] = []

    def fail_next(self, failure: IdAllocError | RespCode, times: int, app_tag: str | None) -> None:
        if not isinstance(failure, IdAllocError | RespCode) or failure is RespCode.SUCCESS:
            raise TypeError("failure must be an IdAllocError or the RespCode of an error")
        if times < 1:
            raise ValueError("times must be at least 1")
        with self._locks.mine():
            self._failures.append(_Failure(failure, times, app_tag))

    def begin_period(self, app_tag: str, period: str | None) -> None:
        with self._locks.mine():
            now = self._periods.get(app_tag)
            if now is None:
                raise ValueError(f"{app_tag!r} has no periods")
            then = now.next() if period is None else Period.parse(period)
            if then.kind != now.kind:
                raise ValueError(f"expected a {now.kind}, as {now} is")
            self._periods[app_tag] = then

    def draw(self, app_tag: str, count: int | None, deadline: float) -> int | IdBatch:
        """Give an id where `count` is None, else so many in a batch."""
        with self._locks.mine():
            self._fail_if_due(app_tag, deadline)
            if count is not None and count > _MAX_COUNT:
                msg = f"count: must be at most {_MAX_COUNT} on this worker"
                raise refused(ErrorReply(resp_code=RespCode.INVALID_REQUEST, msg=msg), app_tag)
            base, period = self._split(app_tag)
            ids = IdBatch(self._counter(base, period).take(count or 1), WORKER, period, app_tag)
        if count is not None:
            return ids
        if period is not None:
            raise PeriodError(ids)
        return ids[0]

    def _split(self, app_tag: str) -> tuple[str, Period | None]:
        """Give the tag and the period to draw from: the current one, or an earlier, named one."""
        if app_tag not in self._periods:
            base, named = Period.of_row(app_tag) or (app_tag, None)
            now = self._periods.get(base)
            if named is None or now is None or named.kind != now.kind or named > now:
                return app_tag, None
            return base, named
        return app_tag, self._periods[app_tag]

    def health(self, spec: RequestSpec[Any], deadline: float) -> RawReply:
        app_tag = parse_health_request(spec.body).app_tag
        with self._locks.mine():
            self._fail_if_due(app_tag, deadline)
            if app_tag in self.not_found:
                raise _refusal(RespCode.APP_TAG_NOT_FOUND, app_tag)
            named = sorted(self._counters) if app_tag is None else [app_tag]
            tags = [self._describe(name) for name in named]
        remaining = sum(tag.left for tag in tags)
        reply = HealthReply(left=remaining, worker=WORKER, tags=tags, tags_total=len(tags))
        return RawReply(reply.encode(), WORKER)

    def _fail_if_due(self, app_tag: str | None, deadline: float) -> None:
        for due in self._failures:
            if due.app_tag in (None, app_tag):
                due.times -= 1
                if not due.times:
                    self._failures.remove(due)
                if isinstance(due.error, IdAllocError):
                    raise fresh(due.error)
                raise _refusal(due.error, app_tag)
        if deadline <= time.monotonic():
            raise CallTimeoutError("the deadline passed before the fake worker could answer")

    def _counter(self, app_tag: str, period: Period | None) -> "_Counter":
        row = _row(app_tag, period)
        counter = self._counters.get(row)
        if counter is None:
            first = self._first_ids.get(app_tag, 1 if self._any_tag else None)
            if first is None:
                self.not_found.add(app_tag)
                raise _refusal(RespCode.APP_TAG_NOT_FOUND, app_tag)
            counter = self._counters[row] = _Counter(row, first, self._segment)
        return counter

    def _describe(self, app_tag: str) -> TagHealth:
        counter = self._counters.get(_row(*self._split(app_tag)))
        if counter is None:
            return TagHealth(app_tag=app_tag, state=TagState.COLD)
        return counter.describe()


def _row(app_tag: str, period: Period | None) -> str:
    return app_tag if period is None else period.row_of(app_tag)


class _Counter:
    """The ids of one row."""

    def __init__(self, app_tag: str, first: int, segment: int | None) -> None:
        self._app_tag = app_tag
        self._step = MAX_ID - first if segment is None else segment
        self._held = self._segment_at(first)
        self._handed_out = 0

    def take(self, count: int) -> list[tuple[int, int]]:
        """Give the next ids, all or none."""
        held, taken, missing = self._held, [], count
        while missing:
            if not held:
                raise _refusal(RespCode.EXHAUSTED, self._app_tag)
            piece = held[:missing]
            taken.append((piece.start, piece.stop))
            missing -= len(piece)
            held = held[len(piece) :] or self._segment_at(held.stop + self._step)
        self._held = held
        self._handed_out += count
        return taken

    def describe(self) -> TagHealth:
        return TagHealth(
            app_tag=self._app_tag,
            state=TagState.READY if self._held else TagState.REFUSED,
            left=len(self._held),
            segments=[(self._held.start, self._held.stop)] if self._held else [],
            step=self._step,
            ids_reserved=self._handed_out + len(self._held),
            ids_handed_out=self._handed_out,
        )

    def _segment_at(self, start: int) -> range:
        return range(start, min(start + self._step, MAX_ID))


def _refusal(code: RespCode, app_tag: str | None) -> RefusedError:
    msg, retry_after_ms = _REFUSALS[code]
    return refused(ErrorReply(resp_code=code, msg=msg, retry_after_ms=retry_after_ms), app_tag)


def patiently(
    answer: Callable[[], _Result], timeout: float, on_retry: Callable[[], None]
) -> _Result:
    """Ask again as the real client does, with a clock of the call's own: nobody really waits.

    The clock goes forward by what each answer says; once that reaches the timeout, the last
    answer is raised as the real client raises it.
    """
    passed, refusals = 0.0, None
    while True:
        try:
            return answer()
        except IdAllocError as error:
            if not can_pass(error):
                raise
            refusals = Refusals.after(refusals, error, passed)
        pause = getattr(refusals.error, "retry_after", None) or SHORTEST
        passed = round(passed + pause, 6)  # so that ten tenths are a whole
        if passed >= timeout:
            raise refusals.at_last()
        on_retry()
