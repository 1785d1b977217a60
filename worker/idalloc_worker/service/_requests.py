"""Takes requests as they are delivered, and sees that each of them ends."""

import logging
from collections.abc import Callable
from typing import Final

from idalloc_client.amqp import Properties
from idalloc_schemas import ALLOC_QUEUE, InvalidMessageError, RespCode, parse_alloc_request
from idalloc_worker.counters import Counters, Event
from idalloc_worker.engine import INTERNAL, Engine, Refused
from idalloc_worker.health import HealthRequests
from idalloc_worker.ordered import OrderedTags
from idalloc_worker.requests import Delivery, Desk, deadline_of
from idalloc_worker.service._effect_runner import EffectRunner
from idalloc_worker.service._turns import SLICE, Turns

_REQUESTS: Final = Event.REQUESTS  # a look into an enum costs as much as the count itself

_log = logging.getLogger("idalloc.worker")


class Requests:
    """Owned by the link's thread."""

    turns: Turns
    """Where requests wait when many come at a time; given before the first one comes."""

    def __init__(  # noqa: PLR0913  # who answers, and how
        self,
        engine: Engine,
        ordered: OrderedTags,
        health: HealthRequests,
        *,
        desk: Desk,
        effects: EffectRunner,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._ordered = ordered
        self._health = health
        self._desk = desk
        self._effects = effects
        self._events = counters.events
        self._clock = clock
        self._last_user: bytes | None = None

    def take(
        self, delivery: Delivery, properties: Properties, body: bytes, came: float | None = None
    ) -> None:
        """Answer a request, or let it wait for its turn; `came` where it did."""
        now = self._clock()
        if came is None:
            came = now
            self._events[_REQUESTS] += 1
            if delivery.user != self._last_user:
                self._last_user = delivery.user
                self._engine.places.seen(delivery.user_name, now)
            if delivery.redelivered:
                self._events[Event.REDELIVERED] += 1
            turns = self.turns
            turns.taken += 1
            if (turns.held or turns.taken > SLICE) and delivery.queue == ALLOC_QUEUE:
                turns.hold(delivery, properties, body, now)
                return
        if not delivery.answerable:
            self._desk.dead_letter(delivery, now)
            return
        try:
            if delivery.queue == ALLOC_QUEUE:
                self._alloc(delivery, body, came, now, properties)
            else:
                self._health.take(delivery, body, now, properties)
        except InvalidMessageError as error:
            self._desk.refuse(delivery, Refused(RespCode.INVALID_REQUEST, str(error)))
        except Exception:  # noqa: BLE001  # pika would end the connection: a crash loop
            _log.exception("A request on %s failed", delivery.queue)
            self._desk.refuse(delivery, INTERNAL)
        self._effects.run_soon()

    def _alloc(
        self, delivery: Delivery, body: bytes, came: float, now: float, properties: Properties
    ) -> None:
        request = parse_alloc_request(body)
        deadline = deadline_of(properties, came)
        if deadline <= now:
            self._desk.expire(delivery)
            return
        if self._desk.doubts(delivery, deadline, now):
            return
        delivery.request, delivery.deadline, delivery.since = request, deadline, came
        if request.app_tag in self._ordered.known:
            self._ordered.forward(delivery)
            return
        answer = self._engine.take(
            request.app_tag,
            request.count,
            now,
            owner=delivery,
            deadline=deadline,
            user=delivery.user_name,
        )
        if answer is None:
            self._events[Event.WAITED] += 1
        else:
            self._desk.answer(delivery, answer)
