"""Takes requests as they are delivered, and sees that each of them ends."""

import logging
from typing import Final

from idalloc_client.amqp import Properties
from idalloc_schemas import ALLOC_QUEUE, InvalidMessageError, RespCode, parse_alloc_request
from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Event
from idalloc_worker.engine import INTERNAL, Engine, Refused
from idalloc_worker.health import HealthRequests
from idalloc_worker.ordered import BundledRequest, OrderedTags
from idalloc_worker.requests import Delivery, Responder, deadline_of
from idalloc_worker.service._effect_runner import EffectRunner
from idalloc_worker.service._turns import SLICE, Turns
from idalloc_worker.templates import Course, PeriodTags
from idalloc_worker.traces import traceparent_in

_REQUESTS: Final = Event.REQUESTS  # a look into an enum costs as much as the count itself

_BY_ITS_TAG: Final = Refused(
    RespCode.INVALID_REQUEST, "app_tag: ids of one period of an ordered app_tag cannot be asked for"
)

_NOT_BEGUN: Final = Refused(RespCode.APP_TAG_NOT_FOUND, "app_tag not found")

_WHICH_PERIOD: Final = Refused(
    RespCode.NO_AVAILABLE_ID, "no available id: it is not known which period it is", 1.0
)

_LOOK_AGAIN: Final = 0.1
"""Seconds until the database is asked again for a period that has not begun there."""

_PATIENCE: Final = 2.0
"""Seconds for which it is: a failover may lead to a server whose clock is behind."""

_log = logging.getLogger("idalloc.worker")


class Requests:
    """Owned by the link's thread. In `turns` requests wait when many come at a time."""

    def __init__(  # noqa: PLR0913, PLR0917  # who answers, and how
        self,
        runtime: Runtime,
        engine: Engine,
        ordered: OrderedTags,
        health: HealthRequests,
        responder: Responder,
        effects: EffectRunner,
        turns: Turns,
        periods: PeriodTags,
    ) -> None:
        self._engine = engine
        self._periods = periods
        self._ordered = ordered
        self._health = health
        self._responder = responder
        self._stalls = responder.stalls
        self._effects = effects
        self._turns = turns
        self._events = runtime.counters.events
        self._clock = runtime.clock
        self._call_later = runtime.link.call_later
        self._traces = runtime.traces
        self._last_user: bytes | None = None
        self._last_name: str | None = None

    def take(
        self, delivery: Delivery, properties: Properties, body: bytes, came: float | None = None
    ) -> None:
        """Answer a request, or let it wait for its turn; `came` where it did."""
        now = self._clock()
        if came is None:
            came = now
            self._events[_REQUESTS] += 1
            if delivery.user != self._last_user:
                self._last_user, self._last_name = delivery.user, delivery.user_name
                self._engine.places.seen(self._last_name, now)
            if delivery.redelivered:
                self._events[Event.REDELIVERED] += 1
            turns = self._turns
            turns.taken += 1
            if (turns.held or turns.taken > SLICE) and delivery.queue == ALLOC_QUEUE:
                turns.hold(delivery, properties, body, now)
                return
        # Looked up here, as most of them are good, and a call would cost more than that.
        admitted = delivery.session.addresses.admitted
        if delivery.reply_to not in admitted and not delivery.answerable:
            self._responder.dead_letter(delivery, now)
            return
        try:
            if delivery.queue == ALLOC_QUEUE:
                self._alloc(delivery, body, came, now, properties)
            else:
                self._health.take(delivery, body, now, properties)
        except InvalidMessageError as error:
            self._responder.refuse(delivery, Refused(RespCode.INVALID_REQUEST, str(error)))
        except Exception:  # noqa: BLE001  # pika would end the connection: a crash loop
            _log.exception("A request on %s failed", delivery.queue)
            self._responder.refuse(delivery, INTERNAL)
        self._effects.run_soon()

    def _alloc(
        self, delivery: Delivery, body: bytes, came: float, now: float, properties: Properties
    ) -> None:
        request = parse_alloc_request(body)
        deadline = deadline_of(properties, came)
        if deadline <= now:
            self._responder.expire(delivery)
            return
        if self._stalls.may_be_dead(deadline, now) and self._responder.doubts(delivery):
            return
        delivery.request, delivery.deadline, delivery.since = request, deadline, came
        if properties.table is not None and self._traces is not None:
            parent = traceparent_in(properties.table)
            delivery.trace = self._traces.begin(parent, delivery, delivery.queue, now - came)
        user = self._last_name if delivery.user == self._last_user else delivery.user_name
        self._draw(delivery, user, now)

    def to_period(self, delivery: Delivery) -> None:
        """Find out which period it is, and draw from that."""
        app_tag, tried = delivery.request.app_tag, delivery.period

        def on_known(course: Course | None, error: Exception | None) -> None:
            if course is not None and course.period != tried:
                self._again(delivery)
            elif course is not None and self._clock() < (delivery.since or 0.0) + _PATIENCE:
                self._call_later(_LOOK_AGAIN, lambda: self._again(delivery))
            elif error is None and self._periods.period_of(app_tag):
                self._responder.refuse(delivery, _NOT_BEGUN)
            else:
                self._responder.refuse(delivery, _WHICH_PERIOD)

        self._periods.learn(app_tag, on_known)

    def _again(self, delivery: Delivery) -> None:
        now = self._clock()
        if not delivery.session.usable:
            return  # the broker delivers it anew; as an owner, this worker may be none any more
        if delivery.deadline <= now:
            self._responder.expire(delivery)
        elif isinstance(delivery, BundledRequest):
            self._ordered.draw(delivery, now)
        else:
            self._draw(delivery, delivery.user_name, now)
        self._effects.run_soon()

    def _draw(self, delivery: Delivery, user: str | None, now: float) -> None:
        request, periods = delivery.request, self._periods
        app_tag = request.app_tag
        if periods.known and periods.by_its_tag_only(app_tag):
            self._responder.refuse(delivery, _BY_ITS_TAG)
            return
        if app_tag in self._ordered.known:
            self._ordered.take(delivery, now)
            return
        if periods.known:
            app_tag, delivery.period = periods.drawn_from(app_tag, now)
        answer = self._engine.take(
            app_tag, request.count, now, token=delivery, deadline=delivery.deadline, user=user
        )
        if answer is None:
            self._events[Event.WAITED] += 1
            if delivery.trace is not None:
                delivery.trace.waits(ordered=False)
        else:
            self._responder.answer(delivery, answer)
