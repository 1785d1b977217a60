"""How a request ends: answered, refused, handed back or dropped, and counted as that."""

from collections.abc import Callable

from idalloc_schemas import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    RespCode,
    encode_alloc_success,
)
from idalloc_worker._effects import Answer, Redirected, Refused
from idalloc_worker._refusals import INTERNAL
from idalloc_worker._replies import REPLY_TYPES, error_reply
from idalloc_worker._session import Delivery
from idalloc_worker._stalls import StallGuard
from idalloc_worker._tallies import (
    ANSWERED,
    DEAD_LETTERED,
    DOUBTED,
    EXPIRED,
    GRANTED,
    HANDED_BACK,
    Tallies,
)
from idalloc_worker._throttle import ThrottledLog


class Desk:
    """Owned by the link's thread. `on_redirected` takes a request whose tag proved ordered."""

    def __init__(
        self,
        tallies: Tallies,
        throttled: ThrottledLog,
        clock: Callable[[], float],
        on_redirected: Callable[[Delivery], None],
    ) -> None:
        self._outcomes = tallies.outcomes
        self._latency = tallies.latency
        self._throttled = throttled
        self._clock = clock
        self._on_redirected = on_redirected
        self.stalls = StallGuard(clock())

    def answer(self, delivery: Delivery, answer: Answer) -> None:
        """Tell a caller what the engine says, or have somebody else do it."""
        if isinstance(answer, tuple):
            self._outcomes[ALLOC_QUEUE][GRANTED] += 1
            body = encode_alloc_success(answer)
            delivery.session.reply(delivery, body, ALLOC_REPLY_TYPE)
        elif isinstance(answer, Redirected):
            self._on_redirected(delivery)
        elif answer.code is RespCode.SHUTTING_DOWN and delivery.returnable:
            self._outcomes[ALLOC_QUEUE][HANDED_BACK] += 1
            delivery.session.hand_back(delivery)
        else:  # a request is handed back once; the second time its caller is told
            self.refuse(delivery, answer)

    def refuse(self, delivery: Delivery, refusal: Refused) -> None:
        """Answer with an error."""
        self._outcomes[delivery.queue][refusal.code.name.lower()] += 1
        reply = error_reply(refusal)
        delivery.session.reply(delivery, reply.encode(), REPLY_TYPES[delivery.queue])

    def report(self, delivery: Delivery, body: bytes | None) -> None:
        """Answer a question about health; None: the answer could not be made."""
        if body is None:
            self.refuse(delivery, INTERNAL)
        elif delivery.deadline <= self._clock():
            self.expire(delivery)
        elif delivery.session.usable:
            self._outcomes[HEALTH_QUEUE][ANSWERED] += 1
            delivery.session.reply(delivery, body, HEALTH_REPLY_TYPE)

    def expire(self, delivery: Delivery) -> None:
        """Drop a request that is past its deadline."""
        self._outcomes[delivery.queue][EXPIRED] += 1
        if delivery.session.usable:
            delivery.session.finish(delivery)

    def doubts(self, delivery: Delivery, deadline: float, now: float) -> bool:
        """Hand a message back that may have aged unseen while the process was stopped."""
        doubtful = self.stalls.may_be_dead(deadline, now) and not delivery.redelivered
        if doubtful:
            self._outcomes[ALLOC_QUEUE][DOUBTED] += 1
            delivery.session.hand_back(delivery)
        return doubtful

    def dead_letter(self, delivery: Delivery, now: float) -> None:
        """Put a request away that cannot be answered."""
        self._outcomes[delivery.queue][DEAD_LETTERED] += 1
        self._throttled.warning(
            now, "dead letter", "Dead-lettered a message on %s: no usable reply_to", delivery.queue
        )
        delivery.session.dead_letter(delivery)

    def on_replied(self, since: list[float]) -> None:
        """Measure how long requests had been here whose replies leave now."""
        self._latency.observe_since(since, self._clock())
