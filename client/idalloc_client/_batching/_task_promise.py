"""What a task waits for. A future does the same, but each has the loop wake its task by itself."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Final

NOTHING: Final[Any] = object()
"""The outcome of a promise that has none."""


class TaskPromise:
    """A promise to one task, which yields it once. `TaskWaker.promise` makes it.

    Exactly one of `set_result`, `set_exception` and `cancel` succeeds. To asyncio it is a
    future-like object (the documentation of `asyncio.isfuture`).
    """

    __slots__ = (
        "__weakref__",
        "_asyncio_future_blocking",
        "_loop",
        "context",
        "outcome",
        "step",
        "waker",
    )

    _asyncio_future_blocking: bool
    _loop: asyncio.AbstractEventLoop
    waker: "TaskWaker"
    outcome: Any
    step: Callable[[Any], object] | None
    """Has the task go on, in its `context`; given something whose `result` says how."""
    context: Context

    def done(self) -> bool:
        return self.outcome is not NOTHING

    def set_result(self, outcome: Any, /) -> None:
        if self.outcome is not NOTHING:
            raise asyncio.InvalidStateError
        self.outcome = outcome
        if self.step is not None:
            self._go_on(self.step)

    set_exception = set_result

    def _go_on(self, step: Callable[[Any], object]) -> None:
        if isinstance(self.outcome, BaseException):
            self.step = None  # a task that fails would hold itself
            self._loop.call_soon(step, self, context=self.context)
        else:
            self.waker.wake([self])

    # What a task does with a future

    def add_done_callback(self, step: Callable[[Any], object], *, context: Context) -> None:
        """Take what has the task go on."""
        self.step, self.context = step, context
        if self.outcome is not NOTHING:
            self._go_on(step)

    def cancel(self, msg: Any = None) -> bool:
        """Want no outcome any more; False if there is one."""
        if self.outcome is not NOTHING:
            return False
        self.set_exception(asyncio.CancelledError(*([] if msg is None else [msg])))
        return True

    def result(self) -> Any:
        """Return the outcome, or raise it, once: an error that stayed here would hold itself."""
        outcome, self.outcome = self.outcome, None
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        finally:
            del outcome


class TaskWaker:
    """Wakes the tasks of one loop that have their ids, all of a turn in one callback.

    With a callback for each, as futures have it, an id of 256 tasks costs a fifth more CPU time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: list[TaskPromise] = []
        self._arrived: asyncio.Future[None] = loop.create_future()
        """What each is woken with: of a future in C a task reads at once that there is no error."""
        self._arrived.set_result(None)

    def promise(self) -> TaskPromise:
        """Make one. Its class has no `__init__`: Python calls that at twice the cost of this."""
        promise = TaskPromise()
        promise._loop = self._loop  # noqa: SLF001  # a task looks there if it may wait for this
        promise._asyncio_future_blocking = True  # noqa: SLF001  # as while a future is awaited
        promise.waker = self
        promise.outcome = NOTHING
        promise.step = None
        return promise

    def wake(self, promises: Sequence[TaskPromise]) -> None:
        """Let tasks go on in the next turn of the loop."""
        if not self._due:
            self._loop.call_soon(self._run)
        self._due += promises

    def _run(self) -> None:
        due, self._due = self._due, []
        arrived, promises = self._arrived, iter(due)
        try:
            for promise in promises:
                if (step := promise.step) is not None:
                    promise.context.run(step, arrived)
        except BaseException:  # Ctrl-C or the like: those behind it go on all the same
            self.wake(list(promises))
            raise
