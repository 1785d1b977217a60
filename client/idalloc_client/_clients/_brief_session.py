"""Calls before uWSGI forks its workers: they leave no thread behind.

uWSGI forks in C and, by default, tells Python nothing. A thread that waits for the interpreter's
lock just then, as that of a connection does once an import goes on, is missing in the child, whose
copy of the lock waits for it for ever.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from idalloc_client._batch import IdBatch
from idalloc_client._clients._session import LinkSession
from idalloc_client._errors import IdAllocError
from idalloc_client._options import ClientOptions
from idalloc_client._rpc import RawReply, RequestSpec
from idalloc_client._stats import ClientStats, SequenceStats
from idalloc_client.amqp import GOODBYE_TIME


def uwsgi_forks_later() -> bool:
    """Say whether this is uWSGI's first process, or its master: what it is before it has a role."""
    uwsgi = sys.modules.get("uwsgi")  # its own, which exists in its processes alone
    numbers = [getattr(uwsgi, name, None) for name in ("worker_id", "mule_id")]
    return all(number is not None and number() == 0 for number in numbers)


class BriefSession:
    """A `Session` with a connection for each call as long as `brief` says so, then with one."""

    def __init__(self, options: ClientOptions, brief: Callable[[], bool]) -> None:
        self._options = options
        self._brief = brief
        self._lasting = LinkSession(options)

    def draw(self, app_tag: str, count: int | None, timeout: float) -> Any:
        with self._session() as session:
            return session.draw(app_tag, count, timeout)

    def draw_later(
        self,
        app_tag: str,
        count: int,
        timeout: float,
        on_answer: Callable[[IdBatch | IdAllocError], None],
    ) -> None:
        if not self._brief():
            self._lasting.draw_later(app_tag, count, timeout, on_answer)
            return
        answer: IdBatch | IdAllocError
        try:  # at once, so that the sequence waits no longer than a call
            answer = self.draw(app_tag, count, min(timeout, self._options.timeout))
        except IdAllocError as error:
            answer = error
        on_answer(answer)

    def call(self, spec: RequestSpec[Any], timeout: float) -> RawReply:
        with self._session() as session:
            return session.call(spec, timeout)

    def gather(self, spec: RequestSpec[Any], within: float) -> list[RawReply]:
        with self._session() as session:
            return session.gather(spec, within)

    def overdue(self) -> IdAllocError:
        return self._lasting.overdue()

    def stats(self, sequences: SequenceStats) -> ClientStats:
        return self._lasting.stats(sequences)

    def close(self, timeout: float) -> None:
        self._lasting.close(timeout)

    @contextmanager
    def _session(self) -> Iterator[LinkSession]:
        if self._lasting.closed or not self._brief():
            yield self._lasting
            return
        session = LinkSession(self._options)
        try:
            yield session
        finally:
            session.close(GOODBYE_TIME)
