"""Answers questions about health: of one tag at once, of all tags together and in slices."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from idalloc_client.amqp import Properties
from idalloc_schemas import HEALTH_QUEUE, HealthCall, RespCode, parse_health_request
from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Event, Outcome
from idalloc_worker.engine import (
    Denial,
    Listing,
    Refused,
    forbidden,
    over_share,
    without_database,
    without_details,
)
from idalloc_worker.fleet import Fleet
from idalloc_worker.health._answers import Bodies, HealthAnswers
from idalloc_worker.health._budget import HealthBudget
from idalloc_worker.health._fleet_calls import FleetHealth
from idalloc_worker.ordered import OrderedTags
from idalloc_worker.requests import (
    FOR_ALL,
    Delivery,
    Responder,
    deadline_of,
    health_reply,
    health_reply_in_slices,
)
from idalloc_worker.rights import HealthRights, Viewer

_TOO_MANY: Final = "too many questions about health"


class HealthRequests:
    """Owned by the link's thread."""

    def __init__(  # noqa: PLR0913  # what it reports on, to whom, and how it answers
        self,
        worker: str,
        runtime: Runtime,
        *,
        fleet: Fleet,
        ordered: OrderedTags,
        responder: Responder,
        rights: HealthRights,
    ) -> None:
        link, clock = runtime.link, runtime.clock
        self._worker = worker
        self._fleet = fleet
        self._ordered = ordered
        self._responder = responder
        self._counters = runtime.counters
        self._outcomes = self._counters.outcomes[HEALTH_QUEUE]
        self._rights = rights
        self._clock = clock
        self._budget = HealthBudget(clock)
        self._answers = HealthAnswers(self._of_all, link.call_soon, link.call_later, clock=clock)
        self._calls = FleetHealth(
            worker,
            link,
            me=lambda: fleet.key,
            users=rights.users,
            on_call=self._on_call,
            clock=clock,
        )
        self.when_idle = self._answers.when_idle
        self.disconnect = self._calls.disconnect
        self.on_call = self._calls.take

    def begin(self, connection: Any) -> None:
        """Learn on which connection questions come."""
        self._connection = connection

    def listen(self, channels: int, on_settled: Callable[[], None]) -> None:
        """Hear what the whole fleet is asked, if there is a channel for it."""
        if channels >= FOR_ALL:
            self._calls.connect(self._connection, on_settled)
        else:
            on_settled()

    # Questions

    def take(self, delivery: Delivery, body: bytes, now: float, properties: Properties) -> None:
        """Answer a request. Raises InvalidMessageError."""
        delivery.deadline = deadline_of(properties, now)
        if delivery.deadline <= now:
            self._responder.expire(delivery)
            return
        viewer = self._rights.viewer(delivery.user_name)
        if not self._admitted(delivery, viewer):
            return
        request = parse_health_request(body)
        if request.fleet and self._calls.listening:
            self._calls.pass_on(delivery, request.app_tag, delivery.deadline - now)
            # This worker's answer comes with those of the others.
            self._outcomes[Outcome.ANSWERED] += 1
            delivery.session.finish(delivery)
        else:
            self._answer(delivery, viewer, request.app_tag)

    def _admitted(self, delivery: Delivery, viewer: Viewer) -> bool:
        """Refuse a question of somebody who asks too much."""
        if self._budget.admit(viewer):
            return True
        if self._budget.word(viewer):
            wait = max(self._budget.wait(viewer), 0.1)
            self._responder.refuse(delivery, over_share(_TOO_MANY, wait))
        else:
            self._drop(delivery)
        return False

    def _on_call(self, delivery: Delivery, call: HealthCall) -> None:
        """Answer a caller who asked the whole fleet, through whichever worker."""
        self._counters.events[Event.REQUESTS] += 1
        viewer = self._rights.viewer(call.user)
        if self._budget.admit(viewer):
            self._answer(delivery, viewer, call.app_tag)
        else:  # one that says so is enough
            self._drop(delivery)

    def _drop(self, delivery: Delivery) -> None:
        self._outcomes[Outcome.DROPPED] += 1
        delivery.session.finish(delivery)

    # Answers

    def _answer(self, delivery: Delivery, viewer: Viewer, app_tag: str | None) -> None:
        if app_tag is None:
            self._answers.ask(viewer, lambda body: self._report(delivery, viewer, body))
            return
        answer = self._of(app_tag, viewer)
        if isinstance(answer, Refused):
            self._responder.refuse(delivery, answer)
        else:
            self._report(delivery, viewer, answer)

    def _report(self, delivery: Delivery, viewer: Viewer, body: bytes | None) -> None:
        if body is not None:
            self._budget.charge(viewer, len(body))
        self._responder.report(delivery, body)

    def _of(self, app_tag: str, viewer: Viewer) -> bytes | Refused:
        pools = self._ordered.pools(app_tag)
        found = self._ordered.health(self._clock(), app_tag)
        if isinstance(found, Refused) and found.code is RespCode.APP_TAG_NOT_FOUND:
            return found  # as who asks for ids is told
        if not viewer.sees(pools):
            return forbidden(viewer.user)
        if isinstance(found, Refused):
            return found
        found = self._for(viewer, found)
        protected = self._fleet.speaking
        return health_reply(self._worker, found, self._counters, protected=protected).encode()

    def _of_all(self, viewers: Collection[Viewer]) -> Bodies:
        """Make one answer for all who are told the same."""
        named = yield from self._ordered.named_users()
        bodies = dict[Viewer, bytes]()
        for whose in {viewer.among(named) for viewer in viewers}:
            found = yield from self._ordered.listing(whose)
            bodies[whose] = yield from health_reply_in_slices(
                self._worker,
                self._for(whose, found),
                self._counters,
                protected=self._fleet.speaking,
            )
        return self._shared(viewers, named, bodies)

    @staticmethod
    def _shared(
        viewers: Collection[Viewer], named: Collection[str], bodies: Mapping[Viewer, bytes]
    ) -> Mapping[Viewer, bytes]:
        return {viewer: bodies[viewer.among(named)] for viewer in viewers}

    def _for(self, viewer: Viewer, found: Listing) -> Listing:
        """Leave out what only operators are told."""
        if self._counters.database_reachable is False:
            found = replace(found, tags=[without_database(tag) for tag in found.tags])
        if viewer.operator:
            return found
        tags = [without_details(tag, self._refusals(tag.app_tag)) for tag in found.tags]
        return Listing(tags, found.total, found.remaining)

    def _refusals(self, app_tag: str) -> list[Denial | None]:
        return [pool.refusal for pool in self._ordered.pools(app_tag) if pool is not None]
