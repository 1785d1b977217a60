"""The client that threads share."""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from idalloc_client._batch import IdBatch, PeriodError, PeriodId, without_period
from idalloc_client._clients._brief_session import BriefSession, uwsgi_forks_later
from idalloc_client._clients._session import LinkSession
from idalloc_client._errors import IdAllocError
from idalloc_client._options import ConfiguredClient
from idalloc_client._rpc import RawReply, RequestSpec, check_draw, health_request
from idalloc_client._sequences import IdSequence, LeaseLimits, SequenceRegistry, new_sequence
from idalloc_client._stats import ClientStats, SequenceStats
from idalloc_client.amqp import GOODBYE_TIME, checked_timeout

if TYPE_CHECKING:  # it loads pydantic, and only who asks for health needs it
    from idalloc_schemas import HealthReply


class Session(Protocol):
    """Whoever answers an `IdClient`: a connection, or a fake. Threads share it."""

    def draw(self, app_tag: str, count: int | None, timeout: float) -> Any:
        """Draw ids: an int where `count` is None, else an `IdBatch`."""

    def draw_later(
        self,
        app_tag: str,
        count: int,
        timeout: float,
        on_answer: Callable[[IdBatch | IdAllocError], None],
    ) -> None:
        """Draw ids in the background, for a sequence.

        `on_answer` is called once, with the first answer, on whatever thread.
        """

    def call(self, spec: RequestSpec[Any], timeout: float) -> RawReply:
        """Send a request and wait so many seconds for its reply."""

    def gather(self, spec: RequestSpec[Any], within: float) -> list[RawReply]:
        """Send a request that several answer, and collect replies for so many seconds."""

    def overdue(self) -> IdAllocError:
        """Say why ids that were asked for are not there in time."""

    def stats(self, sequences: SequenceStats) -> ClientStats: ...

    def close(self, timeout: float) -> None:
        """End every call with `ClientClosedError`, then the connection. Safe to repeat."""


class IdClient(ConfiguredClient):
    """Asks idalloc for ids. One client serves all threads of a process over one connection.

    Use it as a context manager, or call `close`. It connects at the first call, reconnects by
    itself, and sends a call that was in flight again within its deadline; a repeat can only waste
    ids. After a fork it serves the child as well, with a connection of its own.
    """

    _MAX_IN_FLIGHT = 10_000

    def _begin(self) -> None:
        self._session = self._new_session()
        self._sequences = SequenceRegistry()
        # Also at exit and when nobody refers to the client any more: the broker gets a goodbye.
        self._finalizer = weakref.finalize(self, self._session.close, GOODBYE_TIME)

    def _new_session(self) -> Session:
        if uwsgi_forks_later():
            return BriefSession(self._options, uwsgi_forks_later)
        return LinkSession(self._options)

    def next_id(self, app_tag: str, *, timeout: float | None = None) -> int:
        """Return one id, higher than every earlier one of the same worker.

        After an answer that means "not now" the client asks again while there is time, with
        growing, jittered pauses: `NoAvailableIdError` and `BusyError` that say when to ask again,
        `QueueFullError`, `ShuttingDownError`. The error that it raises in the end has the last
        answer as its cause. With `retry=False` the client raises the first one.

        Args:
            app_tag: the tag's name.
            timeout: seconds for the whole call; the worker drops the request when they are over.

        Raises:
            InvalidRequestError: for a bad tag, before anything is sent.
            RefusedError: for an error code of a worker: at once `AppTagNotFoundError`,
                `ForbiddenError`, `ExhaustedError` or `WorkerError`, and when the time is over
                `NoAvailableIdError`, `BusyError` or `ShuttingDownError`.
            CallTimeoutError: if no answer came in time; `ConnectionLostError` if there was no
                connection to the broker.
            NoRouteError: if no worker ever ran there; `QueueFullError` or `AccessRefusedError` if
                the broker refuses the request.
            TooManyCallsError: above `max_in_flight`.
            ClientClosedError: after `close`, or `ForkedClientError` in a child, during the call.
            BadReplyError: for a reply that breaks the contract.
            PeriodError: for a tag that starts anew in each period: `next_number` is for it.
            ValueError: for a bad timeout.
        """
        drawn: int = self._session.draw(app_tag, None, self._time(timeout))
        return drawn

    def next_ids(self, app_tag: str, count: int, *, timeout: float | None = None) -> IdBatch:
        """Return `count` ids in increasing order; they need not be contiguous.

        Args:
            app_tag: the tag's name.
            count: how many; workers allow 1,000,000 a call unless they are configured otherwise.
            timeout: seconds for the whole call; the worker drops the request when they are over.

        Raises:
            IdAllocError: as `next_id` does, and `InvalidRequestError` for a bad count.
            ValueError: for a bad timeout.
        """
        drawn = without_period(self._session.draw(app_tag, count, self._time(timeout)))
        if isinstance(drawn, PeriodError):
            raise drawn
        return drawn

    def next_number(self, app_tag: str, *, timeout: float | None = None) -> PeriodId:
        """Return a number of a tag that starts anew each day, month or year, with its period.

        The workers' database says which period it is, not this machine's clock. Calls of several
        threads share requests, as those of `next_id` do.

        Args:
            app_tag: the tag's name; or, for a number of an earlier period, the name of its row,
                such as `invoice@2026-11`.
            timeout: seconds for the whole call; the worker drops the request when they are over.

        Raises:
            IdAllocError: as `next_id` does, and `PeriodError` for a tag that has no periods.
            ValueError: for a bad timeout.
        """
        return self.next_numbers(app_tag, 1, timeout=timeout)[0]

    def next_numbers(
        self, app_tag: str, count: int, *, timeout: float | None = None
    ) -> list[PeriodId]:
        """Return `count` numbers in increasing order, all of one period; see `next_number`."""
        drawn: IdBatch = self._session.draw(app_tag, count, self._time(timeout))
        return drawn.numbers()

    def sequence(
        self,
        app_tag: str,
        *,
        floor: int = 100,
        cap: int = 1_000_000,
        cover: float = 10.0,
        timeout: float | None = None,
    ) -> IdSequence:
        """Return an endless iterator that leases ids ahead: `next()` costs what a counter's costs.

        A lease follows the rate of use, so that it lasts about `cover` seconds, between `floor` and
        `cap` ids. Up to three leases are in memory. They bridge an outage, and what is left of them
        at `close` is never used. Ids rise within a lease, but other callers get higher ones before
        this caller reaches the end of its lease.

        Args:
            app_tag: the tag's name.
            floor: ids in the smallest lease.
            cap: ids in the largest lease; not above what the workers allow in one call.
            cover: seconds that one lease should last.
            timeout: seconds that `next` may wait when nothing is left; by default the client's.
                Refusals that can pass are retried, as by `next_id`.

        Raises:
            InvalidRequestError: for a bad tag.
            ValueError: for bad limits or a bad timeout.
        """
        check_draw(app_tag)
        limits, patience = LeaseLimits(floor, cap, cover), self._time(timeout)
        lease_timeout, retry = self._lease_terms(patience)

        def lease(count: int, on_answer: Callable[[IdBatch | IdAllocError], None]) -> None:
            self._session.draw_later(app_tag, count, lease_timeout, on_answer)

        overdue = self._session.overdue
        return new_sequence(lease, limits, patience, self._sequences, overdue, retry=retry)

    def health(self, app_tag: str | None = None, *, timeout: float | None = None) -> "HealthReply":
        """Return what one worker holds of a tag, or of every tag that this user may use.

        Which worker answers is the broker's choice. Operators are told more. `BusyError` is
        retried as by `next_id`.

        Raises:
            IdAllocError: as `next_id` does.
            ValueError: for a bad timeout.
        """
        spec = health_request(app_tag)
        return spec.read(self._session.call(spec, self._time(timeout)))

    def fleet_health(
        self, app_tag: str | None = None, *, within: float = 1.0
    ) -> "list[HealthReply]":
        """Return what every worker holds, in the order of their names.

        Nobody knows how many workers there are, so this collects their answers for as long as it
        is told. A tag that a worker was never asked for is cold there, which is healthy.

        Args:
            app_tag: the tag's name, or None for every tag that this user may use.
            within: seconds for which answers are collected.

        Raises:
            IdAllocError: as `next_id` does, if no worker answered, or one could not.
            ValueError: for a bad time.
        """
        spec = health_request(app_tag, fleet=True)
        return [spec.read(raw) for raw in self._session.gather(spec, checked_timeout(within))]

    def stats(self) -> ClientStats:
        """Return what this client has done so far, and what waits now. It costs no message."""
        return self._session.stats(self._sequences.stats())

    def close(self) -> None:
        """End every call in flight with `ClientClosedError` and disconnect. Safe to repeat."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
