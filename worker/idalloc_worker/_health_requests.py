"""Answers questions about health: of one tag at once, of all tags together and in slices."""

from collections.abc import Callable, Generator

from idalloc_client._frames import Properties
from idalloc_client._link import Link
from idalloc_schemas import HEALTH_QUEUE, HEALTH_REPLY_TYPE, HealthCall, parse_health_request
from idalloc_worker._desk import Desk
from idalloc_worker._effects import Refused
from idalloc_worker._fleet import Fleet
from idalloc_worker._health_answers import HealthAnswers
from idalloc_worker._health_calls import HealthCalls
from idalloc_worker._ordered import OrderedTags
from idalloc_worker._replies import error_reply, health_reply
from idalloc_worker._session import Delivery, deadline_of
from idalloc_worker._side_answers import SideAnswer, Verdict
from idalloc_worker._tag_health import Listing
from idalloc_worker._tallies import ANSWERED, Tallies


class HealthRequests:
    """Owned by the link's thread."""

    def __init__(  # noqa: PLR0913  # what it reports on, and how it answers
        self,
        worker: str,
        *,
        fleet: Fleet,
        ordered: OrderedTags,
        desk: Desk,
        tallies: Tallies,
        link: Link,
        clock: Callable[[], float],
    ) -> None:
        self._worker = worker
        self._fleet = fleet
        self._ordered = ordered
        self._desk = desk
        self._tallies = tallies
        self._clock = clock
        self._answers = HealthAnswers(self._of_all, link.call_soon, link.call_later)
        self._calls = HealthCalls(self._answers, self._answer_call, link.call_later, clock)

    def take(self, delivery: Delivery, body: bytes, now: float, properties: Properties) -> None:
        """Answer a request. Raises InvalidMessageError."""
        request = parse_health_request(body)
        delivery.deadline = deadline_of(properties, now)
        if delivery.deadline <= now:
            self._desk.expire(delivery)
        elif request.fleet and self._fleet.speaking and delivery.reply_to is not None:
            self._fleet.health.call(delivery.reply_to, delivery.correlation_id, request.app_tag)
            # This worker's answer comes with those of the others.
            self._tallies.outcomes[HEALTH_QUEUE][ANSWERED] += 1
            delivery.session.finish(delivery)
        elif request.app_tag is None:
            self._answers.ask(lambda answer: self._desk.report(delivery, answer))
        else:
            answer = self._of(request.app_tag, now)
            if isinstance(answer, Refused):
                self._desk.refuse(delivery, answer)
            else:
                self._desk.report(delivery, answer)

    def on_call(self, call: HealthCall) -> None:
        """Answer a caller who asked the whole fleet, through whichever worker."""
        if call.app_tag is None:
            self._calls.take(call)
            return
        answer = self._of(call.app_tag, self._clock())
        body = error_reply(answer).encode() if isinstance(answer, Refused) else answer
        self._answer_call(call, body, lambda: None)

    def when_idle(self, on_idle: Callable[[], None]) -> None:
        """Call `on_idle` once nobody waits any more."""
        self._answers.when_idle(on_idle)

    def _answer_call(self, call: HealthCall, body: bytes, on_confirmed: Callable[[], None]) -> None:
        node, side = self._fleet.health.node_at_risk(call), self._desk.side
        if node is None or side is None or node in side.trusted:
            self._fleet.health.answer(call, body, HEALTH_REPLY_TYPE, on_confirmed)
            return

        def on_verdict(verdict: Verdict) -> None:
            if verdict is Verdict.UNTRIED:
                self._fleet.health.answer(call, body, HEALTH_REPLY_TYPE, on_confirmed)
            else:
                on_confirmed()

        address, number = (
            self._fleet.health.address_of(call),
            self._fleet.health.correlation_id_of(call),
        )
        side.send(SideAnswer(address, number, body, HEALTH_REPLY_TYPE, on_verdict, node=node))

    def _of(self, app_tag: str, now: float) -> bytes | Refused:
        found = self._ordered.health(now, app_tag)
        return found if isinstance(found, Refused) else self._encoded(found)

    def _of_all(self) -> Generator[None, None, bytes]:
        found = yield from self._ordered.listing()
        return self._encoded(found)

    def _encoded(self, tags: Listing) -> bytes:
        protected = self._fleet.speaking
        return health_reply(self._worker, tags, self._tallies, protected=protected).encode()
