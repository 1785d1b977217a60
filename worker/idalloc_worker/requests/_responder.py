"""How a request ends: answered, refused, handed back or dropped, and counted as that."""

import logging
from collections.abc import Callable
from typing import Final

from idalloc_client.amqp import Properties
from idalloc_schemas import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    RespCode,
    encode_alloc_success,
)
from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import (
    REFUSED,
    Outcome,
    ThrottledLog,
)
from idalloc_worker.engine import INTERNAL, Answer, OverShare, Redirected, Refused, over_share
from idalloc_worker.requests._deadlines import deadline_of
from idalloc_worker.requests._replies import REPLY_TYPES, error_reply
from idalloc_worker.requests._sample import Sample
from idalloc_worker.requests._session import Delivery
from idalloc_worker.requests._side_answers import SideAnswer, SideAnswers, Verdict
from idalloc_worker.requests._stalls import StallGuard
from idalloc_worker.requests._taken import Taken

_log = logging.getLogger("idalloc.worker")

_GRANTED: Final = Outcome.GRANTED  # a look into an enum costs as much as the count itself

SHED: Final = over_share("this user sends more requests than others leave room for", 0.1)
_SHED_BODY: Final = error_reply(SHED).encode()
_WARY_FOR: Final = 60.0  # seconds


class Responder:
    """Owned by the link's thread.

    `side` sends what may end a connection, and `on_redirected` takes a request whose tag proved
    ordered.
    """

    def __init__(
        self,
        runtime: Runtime,
        side: SideAnswers,
        on_redirected: Callable[[Delivery, Redirected], None],
    ) -> None:
        counters = runtime.counters
        self._outcomes = counters.outcomes
        self._limited = counters.limited
        self._latency = counters.latency
        self._throttled = ThrottledLog(_log)
        self._clock = runtime.clock
        self._side = side
        self._on_redirected = on_redirected
        self._wary_until = 0.0
        self._sample = Sample()
        self.stalls = StallGuard(runtime.clock())

    def answer(self, delivery: Delivery, answer: Answer) -> None:
        """Tell a caller what the engine says, or have somebody else do it."""
        if isinstance(answer, tuple):
            self._outcomes[ALLOC_QUEUE][_GRANTED] += 1
            body = encode_alloc_success(answer, delivery.period, delivery.owner_queue)
            self._reply(delivery, body, ALLOC_REPLY_TYPE)
            if delivery.trace is not None:
                delivery.trace.end(_GRANTED)
        elif isinstance(answer, Redirected):
            self._on_redirected(delivery, answer)
        elif answer.code is RespCode.SHUTTING_DOWN and delivery.returnable:
            self._count(delivery, Outcome.HANDED_BACK)
            delivery.session.hand_back(delivery)
        else:
            self.refuse(delivery, answer)

    def refuse(self, delivery: Delivery, refusal: Refused) -> None:
        """Answer with an error."""
        if isinstance(refusal, OverShare):
            self._count(delivery, Outcome.LIMITED)
            self._limited.add(delivery.user_name)
        else:
            self._count(delivery, REFUSED[refusal.code])
        reply = error_reply(refusal)
        self._reply(delivery, reply.encode(), REPLY_TYPES[delivery.queue])

    def shed(self, delivery: Delivery, properties: Properties, now: float) -> None:
        """Answer BUSY at the least cost: its user has sent too many for others to be served."""
        if not delivery.answerable:
            self.dead_letter(delivery, now)
            return
        if deadline_of(properties, now) <= now:
            self.expire(delivery)
            return
        self._outcomes[ALLOC_QUEUE][Outcome.LIMITED] += 1
        self._limited.add(delivery.user_name)
        self._reply(delivery, _SHED_BODY, ALLOC_REPLY_TYPE)

    def report(self, delivery: Delivery, body: bytes | None) -> None:
        """Answer a question about health; None: the answer could not be made."""
        if body is None:
            self.refuse(delivery, INTERNAL)
        elif delivery.deadline <= self._clock():
            self.expire(delivery)
        elif delivery.session.usable:
            self._outcomes[HEALTH_QUEUE][Outcome.ANSWERED] += 1
            self._reply(delivery, body, HEALTH_REPLY_TYPE)

    def beware(self) -> None:
        """Suspect what is delivered again for a while: something of it ended the connection."""
        self._wary_until = self._clock() + _WARY_FOR

    def _count(self, delivery: Delivery, outcome: Outcome) -> None:
        """Count how a request ended, other than with ids."""
        self._outcomes[delivery.queue][outcome] += 1
        if delivery.trace is not None:
            delivery.trace.end(outcome)

    def _reply(self, delivery: Delivery, body: bytes, message_type: str) -> None:
        suspect = delivery.redelivered and (
            isinstance(delivery, Taken) or self._clock() < self._wary_until
        )
        if delivery.reply_to in delivery.session.addresses.admitted and not suspect:
            delivery.session.reply(delivery, body, message_type)
        else:
            self._reply_aside(delivery, body, message_type, suspect=suspect)

    def _reply_aside(
        self, delivery: Delivery, body: bytes, message_type: str, *, suspect: bool
    ) -> None:
        session, reply_to = delivery.session, delivery.reply_to
        if reply_to is None:
            return
        node = session.addresses.node_at_risk(reply_to)
        safe = not suspect and (node is None or node in self._side.trusted)
        if safe:
            session.addresses.admitted.add(reply_to)
            session.reply(delivery, body, message_type)
            return

        def on_verdict(verdict: Verdict) -> None:
            if verdict is Verdict.UNTRIED:
                session.reply(delivery, body, message_type)
            elif verdict is Verdict.SENT:
                session.finish(delivery)
                self.on_replied([] if delivery.since is None else [delivery.since])
            else:
                self.dead_letter(delivery, self._clock())

        self._side.send(
            SideAnswer(
                *(reply_to, delivery.correlation_id, body, message_type, on_verdict),
                node=None if suspect else node,
            )
        )

    def expire(self, delivery: Delivery) -> None:
        """Drop a request that is past its deadline."""
        self._count(delivery, Outcome.EXPIRED)
        if delivery.session.usable:
            delivery.session.finish(delivery)

    def doubts(self, delivery: Delivery) -> bool:
        """Hand a message back, once, that may have aged unseen while the process was stopped."""
        if delivery.redelivered:
            return False
        self._count(delivery, Outcome.DOUBTED)
        delivery.session.hand_back(delivery)
        return True

    def dead_letter(self, delivery: Delivery, now: float) -> None:
        """Put a request away that cannot be answered; of a flood of them, some."""
        self._count(delivery, Outcome.DEAD_LETTERED)
        self._throttled.warning(
            now, "dead letter", "Dead-lettered a message on %s: no usable reply_to", delivery.queue
        )
        if self._sample.takes(now):
            delivery.session.dead_letter(delivery)
        elif delivery.session.usable:
            delivery.session.finish(delivery)

    def on_replied(self, since: list[float]) -> None:
        """Measure how long requests had been here whose replies leave now."""
        now = self._clock()
        for began in since:
            self._latency.observe(now - began)
