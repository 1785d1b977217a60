"""Takes messages one by one after some message has ended the connection, and sets such ones aside.

RabbitMQ closes a connection (541) over a message that it cannot turn into AMQP 0-9-1 (release 4:
whoever may publish may send such ones over AMQP 1.0), and over an answer to an address that it
fails over (release 3.10). The message goes back to its queue, and ends the next one that consumes.
Nobody has seen it: it never arrives.

So a worker to which this happens twice does not consume for a while. On a connection of its own it
asks for one message at a time (`basic.get`) which the broker need not see acknowledged. An
innocent one arrives, and is answered; a culprit ends that connection alone, and is gone with it.
A worker that crashes meanwhile takes at most the messages with it that it has in its hands: their
callers ask again.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final, Protocol

from idalloc_client.amqp import (
    Backoff,
    Basic,
    ChannelClosedByBroker,
    MessageChannel,
    NewLink,
    Properties,
    SideLink,
    describe,
    ended_by_message,
    nothing,
)
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE
from idalloc_worker.counters import Event, Events, ThrottledLog
from idalloc_worker.requests._session import REQUEST_TYPE
from idalloc_worker.requests._taken import as_copy
from idalloc_worker.rights import FleetUsers
from idalloc_worker.tags import QUEUES

_log = logging.getLogger("idalloc.worker")

ORDERED: Final = "id.ordered.*"
"""Stands for the queues of all partitions, which are consumed together or not at all."""

_NAMES: Final = {ALLOC_QUEUE: (ALLOC_QUEUE,), HEALTH_QUEUE: (HEALTH_QUEUE,), ORDERED: QUEUES}

_SOON: Final = 60.0  # seconds within which a second loss shows that the same goes on
_AT_LEAST: Final = 2.0
"""Seconds of taking singly: what ended another worker's connection comes back only now."""
_CALM: Final = 10.0
"""Seconds without a culprit after which requests are consumed again. Whoever sends one culprit a
second costs nobody a connection then, as long as one by one is fast enough."""
_POLL: Final = 0.01  # seconds until an empty queue is asked again
_ROUND: Final = 0.5  # seconds between two rounds through a partition's queue
_IN_A_ROW: Final = 50  # messages of one queue, before the others have their turn
_ENOUGH: Final = 1000  # innocent ones in a row, with
_BACKLOG: Final = 1000  # more waiting: one by one is too slow for this queue
_MOST_FAILURES: Final = 3
"""To connect, in a row: there is no further connection to be had, for the user's limit say."""
_MOST_ANSWERS: Final = 100  # that are not sent yet, before more is taken


class SinglesOwner(Protocol):
    """The worker whose consumers rest while messages are taken singly."""

    def on_single(self, queue: str, properties: Properties, body: bytes) -> None:
        """Answer a request: nobody else will see it."""

    def on_released(self, kind: str) -> None:
        """Consume again: `id.alloc`, `id.health` or `ORDERED`."""

    def unsent(self) -> int:
        """Tell how many answers wait to be sent."""


@dataclass(slots=True, eq=False)
class _Group:
    kind: str
    until: float
    innocent: int = 0
    released: bool = False


@dataclass(slots=True, eq=False)
class _Queue:
    name: str
    group: _Group
    next_at: float = 0.0
    turn: int = 0  # messages in this turn
    turn_ends: float = _IN_A_ROW


class Quarantine:
    """Owned by the link's thread; the handler of a link that lives while messages are suspected."""

    def __init__(  # noqa: PLR0913  # its surroundings
        self,
        owner: SinglesOwner,
        new_link: NewLink,
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        events: Events,
        *,
        users: FleetUsers,
    ) -> None:
        self._users = users
        self.active = False
        """Whether messages are to be taken singly."""
        self._owner = owner
        self._new_link = new_link
        self._later = later
        self._clock = clock
        self._events = events
        self._throttled = ThrottledLog(_log)
        self._last = -inf
        self._queues: deque[_Queue] = deque()
        self._backoff = Backoff(0.002, 2.0)
        self._link: SideLink | None = None
        self._failures = 0
        self._channel: MessageChannel | None = None
        self._asked: _Queue | None = None
        self._on_finished: Callable[[], None] | None = None

    def suspect(self) -> None:
        """Hear that a message ended the worker's connection: the second time it is enough."""
        now = self._clock()
        if not self.active and now - self._last < _SOON:
            self.active = True
            _log.warning("Messages end this worker's connection: it takes them one by one")
        self._last = now

    def begin(self, *, ordered: bool) -> None:
        """Take messages of each kind of queues until it is released."""
        self.stop()
        until = self._clock() + _AT_LEAST
        groups = [_Group(kind, until) for kind in _NAMES if ordered or kind != ORDERED]
        self._queues = deque(_Queue(name, group) for group in groups for name in _NAMES[group.kind])
        self._backoff.reset()
        self._failures = 0
        self._link = self._new_link(handler=self, backoff=self._backoff)
        self._link.connect()

    def finish(self, on_finished: Callable[[], None]) -> None:
        """Take no more, once the message has come that was asked for: its queue has it no more."""
        self._queues.clear()
        if self._asked is None:
            self.stop()
            on_finished()
        else:
            self._on_finished = on_finished

    def stop(self) -> None:
        """Take no more, whatever was asked for."""
        link, self._link, self._channel, self._asked = self._link, None, None, None
        self._on_finished = None
        self._queues.clear()
        if link is not None:
            link.begin_stop(nothing)

    # The link's handler

    def on_ready(self, channel: MessageChannel) -> None:
        """Ask for the next message on a fresh channel."""
        if self._link is not None:
            self._channel, self._failures = channel, 0
            on_empty = partial(self._on_empty, channel)
            channel.pika_channel.add_callback(on_empty, [Basic.GetEmpty], False)  # noqa: FBT003
            self._next()

    def on_lost(self, reason: BaseException) -> None:
        """Blame the message that was asked for, if it is that."""
        asked, self._asked, self._channel = self._asked, None, None
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self._do_without(reason)
        elif asked is None:
            return
        elif ended_by_message(reason):
            self._set_aside(asked)
        elif isinstance(reason, ChannelClosedByBroker):  # no such queue, or no right to it
            _log.info("Cannot look into %s: %s", asked.name, describe(reason))
            self._release(asked.group)

    def _do_without(self, reason: BaseException) -> None:
        """Consume as usual, since not to serve at all would be no better."""
        _log.warning("Messages cannot be taken one by one: %s", describe(reason))
        for group in dict.fromkeys(queue.group for queue in self._queues):
            self._release(group)
        self._end()

    def on_blocked(self, *, blocked: bool) -> None:
        """Go on: what is taken is answered whenever the broker takes answers."""

    def _set_aside(self, queue: _Queue) -> None:
        now = self._last = self._clock()
        queue.group.until = now + (_AT_LEAST if queue.group.kind == ORDERED else _CALM)
        queue.group.innocent = 0
        if queue.turn:  # it was one of those that there were when the turn began
            self._count(queue)
        self._backoff.reset()
        self._events[Event.POISON_SET_ASIDE] += 1
        self._throttled.warning(
            now,
            f"culprit in {queue.name}",
            "Set a message of %s aside (%d until now): it ends each connection that it is "
            'delivered to. See docs/runbook.md, "541 in a loop"',
            queue.name,
            self._events[Event.POISON_SET_ASIDE],
        )

    # One by one

    def _next(self) -> None:
        if self._channel is None or self._asked is not None:
            return
        now = self._clock()
        for group in dict.fromkeys(queue.group for queue in self._queues):
            if group.until <= now:
                self._release(group)
        if not self._queues:
            self._end()
            return
        at = now + _POLL
        if self._owner.unsent() < _MOST_ANSWERS:
            first = min(self._queues, key=lambda queue: queue.next_at)  # of equal ones the first
            at = first.next_at
            if at <= now:
                self._ask(self._channel, first)
                return
        channel = self._channel
        self._later(at - now, lambda: self._next_on(channel))

    def _next_on(self, channel: MessageChannel) -> None:
        if channel is self._channel:
            self._next()

    def _ask(self, channel: MessageChannel, queue: _Queue) -> None:
        self._asked = queue
        channel.get(queue.name, partial(self._on_message, channel, queue))

    def _on_message(
        self, channel: MessageChannel, queue: _Queue, left: int, properties: Properties, body: bytes
    ) -> None:
        group = queue.group
        bundle = group.kind == ORDERED and properties.type != REQUEST_TYPE
        name = ALLOC_QUEUE if group.kind == ORDERED else queue.name
        if channel is not self._channel:  # it was stopped meanwhile
            if not bundle:
                self._owner.on_single(name, properties, body)
            return
        self._asked = None
        self._backoff.reset()
        group.innocent += 1
        if bundle:
            self._put_back(channel, queue, left, properties, body)
        else:
            self._owner.on_single(name, properties, body)
            if group.kind != ORDERED and group.innocent >= _ENOUGH and left >= _BACKLOG:
                self._release(group)
        self._count(queue)
        self._next()

    def _put_back(
        self, channel: MessageChannel, queue: _Queue, left: int, properties: Properties, body: bytes
    ) -> None:
        """Send a bundle to the end of its queue: only the owner of the partition may answer it."""
        if not queue.turn:
            queue.turn_ends = left + 1
        users = self._users
        if users.trusts(properties.user_id):  # the broker lets this worker say no other name
            copy = as_copy(properties, users.user_id, aged=_ROUND)
            channel.publish(queue.name.encode(), copy, body)
        elif users.known:  # no owner would read it
            self._events[Event.FOREIGN_MESSAGES] += 1
        else:
            channel.publish(queue.name.encode(), as_copy(properties, aged=_ROUND), body)

    def _count(self, queue: _Queue) -> None:
        queue.turn += 1
        if queue.turn >= queue.turn_ends:
            pause = _ROUND if queue.group.kind == ORDERED else 0.0
            self._end_turn(queue, self._clock() + pause)
        elif queue.turn % _IN_A_ROW == 0:
            self._stand_behind(queue, self._clock())

    def _on_empty(self, channel: MessageChannel, _frame: object) -> None:
        queue = self._asked
        if channel is self._channel and queue is not None:
            self._asked = None
            self._end_turn(queue, self._clock() + _POLL)
            self._next()

    def _end_turn(self, queue: _Queue, next_at: float) -> None:
        queue.turn = 0
        self._stand_behind(queue, next_at)

    def _stand_behind(self, queue: _Queue, next_at: float) -> None:
        """Let the others have their turn."""
        queue.next_at = next_at
        if queue in self._queues:
            self._queues.remove(queue)
            self._queues.append(queue)

    def _release(self, group: _Group) -> None:
        if group.released:
            return
        group.released = True
        self._queues = deque(queue for queue in self._queues if queue.group is not group)
        self._owner.on_released(group.kind)

    def _end(self) -> None:
        on_finished = self._on_finished
        self.stop()
        if on_finished is not None:
            on_finished()
            return
        self.active = False
        _log.info("Messages are taken as usual again")
