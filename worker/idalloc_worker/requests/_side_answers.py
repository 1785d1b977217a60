"""Sends answers that may end a connection over one of their own, where nobody else is harmed.

A broker that cannot cope with a message closes the connection that published it (541). The request
comes back then, and would do the same to each worker in turn. So what is suspected of that is
answered here, one at a time: if the connection ends by it, that request is put away.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from idalloc_client.amqp import (
    ChannelClosedByBroker,
    ConnectionClosed,
    Envelope,
    MessageChannel,
    Properties,
    SideLink,
    describe,
    ended_by_message,
    nothing,
)
from idalloc_schemas import CONTENT_TYPE
from idalloc_worker.rights import FleetUsers

_log = logging.getLogger("idalloc.worker")

_IDLE: Final = 30.0  # seconds after which the connection is given up
_REFUSED_FOR: Final = 10.0  # seconds
_MOST_NODES: Final = 100  # that are remembered as bad ones: anybody may invent some
_FAILURES: Final = 3  # to connect, in a row: then it is done without
_OTHERWISE: Final = (ChannelClosedByBroker, ConnectionClosed)
"""How the broker closes what it means to close, for reasons that are not the answer's."""


class Verdict(Enum):
    """What became of an answer."""

    SENT = auto()
    FATAL = auto()
    """It ended the connection, or one to the same node of the broker did."""
    UNTRIED = auto()
    """It may go the usual way: that is safe by now, or there is no other connection to be had."""


@dataclass(slots=True, eq=False)
class SideAnswer:
    """An answer, and whom to tell what became of it."""

    reply_to: bytes
    correlation_id: bytes | None
    body: bytes
    message_type: str
    on_verdict: Callable[[Verdict], None]
    node: bytes | None = field(default=None)
    """The broker's node that the address names, if that alone is in doubt."""
    lost: bool = False
    """Whether a connection ended while it was on its way, which may have had another cause."""


class SideAnswers:
    """Owned by the link's thread: the handler of a link that lives while there is use for it."""

    def __init__(
        self,
        worker: str,
        new_link: Callable[["SideAnswers"], SideLink],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        users: FleetUsers,
    ) -> None:
        self.trusted: set[bytes] = set()
        """Nodes to which an answer went without harm since the worker's connection was opened."""
        self._worker = worker.encode()
        self._new_link = new_link
        self._later = later
        self._clock = clock
        self._users = users
        self._bad: dict[bytes, float] = {}
        self._waiting: deque[SideAnswer] = deque()
        self._current: SideAnswer | None = None
        self._link: SideLink | None = None
        self._channel: MessageChannel | None = None
        self._failures = 0
        self._sent = 0
        self._on_finished: Callable[[], None] | None = None

    @property
    def waiting(self) -> int:
        """How many answers have not been sent."""
        return len(self._waiting)

    def send(self, answer: SideAnswer) -> None:
        """Send an answer, in its turn."""
        if answer.node is not None and self._clock() < self._bad.get(answer.node, 0.0):
            answer.on_verdict(Verdict.FATAL)
            return
        self._waiting.append(answer)
        if self._link is None:
            self._failures = 0
            self._link = self._new_link(self)
            self._link.connect()
        else:
            self._next()

    def distrust(self) -> None:
        """Trust no node any more: one may have ended together with the worker's connection."""
        self.trusted.clear()

    def finish(self, on_finished: Callable[[], None]) -> None:
        """Give the connection up once all was sent: what is answered here may be nowhere else."""
        self._on_finished = on_finished
        self._finish_if_idle()

    def _finish_if_idle(self) -> None:
        on_finished = self._on_finished
        if on_finished is not None and self._current is None and not self._waiting:
            self._on_finished = None
            self.close()
            on_finished()

    def close(self) -> None:
        """Give the connection up."""
        link, self._link, self._channel = self._link, None, None
        if link is not None:
            link.begin_stop(nothing)

    # The link's handler

    def on_ready(self, channel: MessageChannel) -> None:
        """Send the answers that wait, over a fresh channel."""
        if self._link is not None:
            self._channel, self._failures = channel, 0
            channel.pika_channel.confirm_delivery(self._on_confirm)
            self._next()

    def on_lost(self, reason: BaseException) -> None:
        """Blame the answer that was on its way, if it may be that; else send it once more."""
        self._channel = None
        answer, told = self._current, ended_by_message(reason)
        if answer is not None and (told or answer.lost):
            blamed = told or not isinstance(reason, _OTHERWISE)
            if blamed:
                _log.warning("An answer ended the connection it went over: %s", describe(reason))
            self._end(Verdict.FATAL if blamed else Verdict.UNTRIED)
            return
        if answer is not None:
            answer.lost, self._current = True, None
            self._waiting.appendleft(answer)
        self._failures += 1
        if self._failures >= _FAILURES:
            self.close()
            waiting, self._waiting = self._waiting, deque()
            for answer in waiting:
                answer.on_verdict(Verdict.UNTRIED)
            self._finish_if_idle()

    def on_blocked(self, *, blocked: bool) -> None:
        """Wait for the confirm, however long it takes."""

    def _next(self) -> None:
        if self._channel is None or self._current is not None or not self._waiting:
            return
        answer = self._current = self._waiting.popleft()
        self._sent += 1
        properties = Properties(
            content_type=CONTENT_TYPE.encode(),
            type=answer.message_type.encode(),
            user_id=self._users.user_id_on(self._channel.pika_channel.connection),
            app_id=self._worker,
        )
        self._channel.reply(
            answer.reply_to, Envelope(properties), answer.correlation_id, answer.body
        )

    def _on_confirm(self, _frame: Any) -> None:
        if self._current is not None:
            self._end(Verdict.SENT)

    def _end(self, verdict: Verdict) -> None:
        answer, self._current = self._current, None
        if answer is None:
            return
        answer.on_verdict(verdict)
        if answer.node is not None and verdict is not Verdict.UNTRIED:
            self._judge(answer.node, verdict)
        self._next()
        if self._current is None and not self._waiting:
            sent = self._sent
            self._later(_IDLE, lambda: self._close_if_idle(sent))
        self._finish_if_idle()

    def _judge(self, node: bytes, verdict: Verdict) -> None:
        """Do with all that wait for a node as its first answer fared."""
        if verdict is Verdict.SENT:
            self.trusted.add(node)
        else:
            if len(self._bad) >= _MOST_NODES:
                self._bad.clear()
            self._bad[node] = self._clock() + _REFUSED_FOR
        alike = [answer for answer in self._waiting if answer.node == node]
        self._waiting = deque(answer for answer in self._waiting if answer.node != node)
        for answer in alike:
            answer.on_verdict(Verdict.UNTRIED if verdict is Verdict.SENT else Verdict.FATAL)

    def _close_if_idle(self, sent: int) -> None:
        if sent == self._sent and self._current is None and not self._waiting:
            self.close()
