"""Ordered tags in one worker: knows which they are, passes requests on, and answers as an owner."""

import logging
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, Self

from idalloc_client.amqp import Channel, Properties
from idalloc_schemas import ALLOC_QUEUE, InvalidMessageError, RespCode, TagHealth, TagState
from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import ORDERED_QUEUES, Event, Outcome, ThrottledLog
from idalloc_worker.engine import SHUTTING_DOWN, Engine, Listing, Refused, TagPool, describe
from idalloc_worker.ordered._bundles import decode_bundle
from idalloc_worker.ordered._forwarder import RETRY_AFTER, Forwarder
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from idalloc_worker.ordered._owner_session import BundledRequest, DirectRequest, OwnerSession
from idalloc_worker.ordered._partition_owner import PartitionOwner
from idalloc_worker.requests import Delivery, OnDelivery, Responder, Sample, deadline_of
from idalloc_worker.rights import FleetUsers, Steps, Viewer, listing, named_users
from idalloc_worker.store import Job, NotBegunError, Store
from idalloc_worker.tags import QUEUES, partition_of
from idalloc_worker.templates import PeriodTags

_log = logging.getLogger("idalloc.ordered")

SURVEY_INTERVAL: Final = 5.0
"""Seconds, at least, between two looks at which tags are ordered: a switch takes as long."""

_SURVEY_SHARE: Final = 0.01  # of the time that a process may spend on these looks, if it can be
_LONGEST_PAUSE: Final = 15.0  # seconds between two looks, also at a large table or a busy database

_ELSEWHERE: Final = Refused(
    RespCode.INVALID_REQUEST, "app_tag: its requests belong in another queue; send to id.alloc"
)

_ROWS_AT_A_TIME: Final = 5000  # a millisecond


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at the table found."""

    tags: frozenset[str]
    """Those that are ordered."""
    marks: Mapping[str, int]
    """How far each of them is reserved."""

    @classmethod
    def by(cls, store: Store) -> Self:
        """Look, on a refill thread."""
        marks = store.ordered_tags()
        return cls(frozenset(marks), marks)


class OrderedTags:
    """Owned by the link's thread. `engine` is that of the partitions, `unordered` the other one.

    `run_effects` does what the engines want, and `users` tells workers from callers.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # its surroundings
        self,
        engine: OrderedEngine,
        unordered: Engine,
        worker: str,
        runtime: Runtime,
        responder: Responder,
        run_effects: Callable[[], None],
        users: FleetUsers,
        periods: PeriodTags,
    ) -> None:
        self._periods = periods
        self.engine = engine
        self.known: frozenset[str] = frozenset()
        """The tags that are ordered, as far as this worker knows."""
        self._draining = False
        self._unordered = unordered
        self._throttled = ThrottledLog(_log)
        self._counters = runtime.counters
        self._clock = runtime.clock
        self._traces = runtime.traces
        self._loop = runtime.link
        self._post = runtime.post
        self._refill_threads = runtime.refill_threads
        self._responder = responder
        self._run_effects = run_effects
        self._users = users
        self._sample = Sample()
        self._giving_up = False
        self._forwarder = Forwarder(
            worker, runtime.link, responder, runtime.clock, runtime.counters.events, users
        )
        self._partition_owner = PartitionOwner(
            worker,
            runtime.link,
            runtime.clock,
            users=users,
            on_bundle=self._on_bundle,
            on_dropped=self._on_dropped,
            on_replied=responder.on_replied,
            on_end=self._on_end,
        )
        runtime.post(self._survey)

    def hand_requests_to(self, on_request: OnDelivery) -> None:
        """Say who takes what callers have sent to the queues of partitions, before any comes."""
        self._partition_owner.on_request = on_request

    # The connection's life

    def on_ready(self, channel: Channel, *, own: bool = True) -> None:
        """Begin, on channels of its own: what goes wrong there does not disturb other tags.

        Without `own` it passes requests on, and owns no partition until it is told to.
        """
        self._forwarder.open(channel.connection)
        self._connection = channel.connection
        if own:
            self.own()

    def own(self) -> None:
        """Become an owner, on the connection that it was given last."""
        self._partition_owner.start(self._connection)

    def do_without(self, problem: str) -> None:
        """Refuse requests for ordered tags: there are no channels for them."""
        self._partition_owner.problem = problem

    def on_lost(self) -> None:
        """Void all that was held: others own the partitions now."""
        self._partition_owner.stop()
        self._forwarder.lose()

    def drain(self, on_drained: Callable[[], None]) -> None:
        """Let what was taken reach its owners, then give the partitions up."""
        self._draining = True
        self._forwarder.when_idle(lambda: self._give_up(on_drained))

    def _give_up(self, on_drained: Callable[[], None]) -> None:
        """Give the partitions up, one after another: from the first on others reserve too."""
        self._giving_up = True
        self.engine.retire()
        self._partition_owner.cancel(on_drained)

    def flush(self) -> None:
        """Send the acknowledgements that are due."""
        self._partition_owner.flush()

    # As the worker that a request came to

    def take(self, delivery: Delivery, now: float) -> None:
        """Answer a request that its caller has sent to this worker as the owner, or pass it on."""
        if not isinstance(delivery, DirectRequest):
            self.forward(delivery)
        elif not delivery.session.usable:
            pass  # the broker delivers it anew
        elif not _belongs_to(delivery):  # to pass it on would leave its queue full
            self._responder.refuse(delivery, _ELSEWHERE)
        elif self._partition_owner.owns(delivery):
            delivery.drawn = True
            self._counters.events[Event.OWNED] += 1
            self.draw(delivery, now)
        else:
            self.forward(delivery)

    def forward(self, delivery: Delivery) -> None:
        """Pass a request on to the owner of its tag."""
        if self._giving_up:  # nobody waits for the broker to confirm it any more
            self._responder.answer(delivery, SHUTTING_DOWN)
        elif self._partition_owner.problem is None:
            self._forwarder.add(delivery)
        else:
            refusal = Refused(RespCode.NO_AVAILABLE_ID, self._partition_owner.problem, RETRY_AFTER)
            self._responder.answer(delivery, refusal)

    def redirect(self, delivery: Delivery) -> None:
        """Pass a request on whose tag is ordered, as its row says."""
        self.known |= {delivery.request.app_tag}
        self.forward(delivery)

    # As the owner of partitions

    def _on_bundle(self, delivery: Delivery, properties: Properties, body: bytes) -> None:
        now = self._clock()
        session = delivery.session
        vouched = self._users.trusts(delivery.user)
        if not vouched and self._users.known:  # nothing else of it is looked at
            self._counters.events[Event.FOREIGN_MESSAGES] += 1
            if self._sample.takes(now):
                self._put_away(delivery, now, "no worker sent it")
            else:  # the broker has the less to do with it, the sooner the queue is empty again
                session.finish(delivery)
            return
        try:
            requests = decode_bundle(body, QUEUES.index(delivery.queue))
        except InvalidMessageError as error:
            self._put_away(delivery, now, error)
            return
        deadline = deadline_of(properties, now)
        if deadline <= now:
            session.finish(delivery)
            self._counters.outcomes[ALLOC_QUEUE][Outcome.EXPIRED] += len(requests)
            return
        if not isinstance(session, OwnerSession):
            return
        if self._responder.stalls.may_be_dead(deadline, now) and self._responder.doubts(delivery):
            return
        self._counters.events[Event.OWNED] += len(requests)
        for request, sent in zip(session.unpack(delivery, requests), requests, strict=True):
            if not vouched:
                request.user = None
            if self._traces is not None and sent.traceparent is not None:
                request.trace = self._traces.begin(sent.traceparent, request, delivery.queue)
            request.since, request.deadline = now, deadline
            self._begin(request, now)
        self._run_effects()

    def _begin(self, request: BundledRequest, now: float) -> None:
        if request.answerable:
            self.draw(request, now)
        else:  # it goes with its bundle, which cannot be dead-lettered for one of many
            self._counters.outcomes[ORDERED_QUEUES][Outcome.DEAD_LETTERED] += 1
            request.session.finish(request)

    def _put_away(self, delivery: Delivery, now: float, why: object) -> None:
        self._counters.outcomes[ORDERED_QUEUES][Outcome.DEAD_LETTERED] += 1
        self._throttled.warning(
            now, "bad bundle", "Dead-lettered a message on %s: %s", delivery.queue, why
        )
        delivery.session.dead_letter(delivery)

    def draw(self, request: BundledRequest | DirectRequest, now: float) -> None:
        """Answer a request, as its tag's owner, or let it wait."""
        wanted = request.request
        app_tag, request.period = self._periods.drawn_from(wanted.app_tag, now)
        answer = self.engine.take(
            app_tag,
            wanted.count,
            now,
            token=request,
            deadline=request.deadline,
            user=request.user_name,
        )
        if answer is not None:
            self._responder.answer(request, answer)
        else:
            self._counters.events[Event.WAITED] += 1
            if request.trace is not None:
                request.trace.waits(ordered=True)

    def _on_dropped(self, request: Delivery) -> None:
        self._counters.events[Event.REQUESTS] += 1
        self._counters.outcomes[ALLOC_QUEUE][Outcome.LIMITED] += 1
        self._counters.limited.add(request.user_name)

    def _on_end(self) -> None:
        self._counters.events[Event.GENERATIONS] += 1
        self.engine.void()

    def reserved_elsewhere(self, app_tag: str, end: int) -> None:
        """Take in that another worker, or this one for the tag as an ordinary one, reserved ids."""
        self._tell_dropped(app_tag, self.engine.reserved_by_others(app_tag, end))

    def _tell_dropped(self, app_tag: str, ids: int) -> None:
        if ids:
            _log.info(
                "Dropped %d ids of %s: others have reserved above them, so they are out of order",
                ids,
                app_tag,
            )

    # Which tags are ordered

    def _survey(self) -> None:
        began = self._clock()

        def report(found: Survey | Exception) -> None:
            self._post(lambda: self._on_survey(found, began))

        self._refill_threads.run(Job(Survey.by, report))

    def _on_survey(self, found: Survey | Exception, began: float) -> None:
        now = self._clock()
        if isinstance(found, Exception) and (self._draining or isinstance(found, NotBegunError)):
            return  # the process is about to end
        self._counters.database_used(found)
        if isinstance(found, Exception):  # what is known stays known
            self._throttled.warning(now, "survey", "Cannot tell which tags are ordered: %s", found)
        else:
            self._switch(found.tags, now)
            self._compare(iter(found.marks.items()))
        pause = min(max(SURVEY_INTERVAL, (now - began) / _SURVEY_SHARE), _LONGEST_PAUSE)
        self._loop.call_later(pause * (0.9 + 0.1 * random.random()), self._survey)  # noqa: S311

    def _switch(self, tags: frozenset[str], now: float) -> None:
        before, self.known = self.known, tags
        for app_tag in tags - before:
            _log.info("%s is ordered (partition %d)", app_tag, self._partition_of(app_tag))
            self._unordered.redirect(app_tag, now)
        for app_tag in before - tags:
            _log.info("%s is not ordered any more", app_tag)
            self.engine.drop(app_tag)  # also a tag that was removed: it may come back
        self._run_effects()

    def _compare(self, marks: Iterator[tuple[str, int]]) -> None:
        """Drop what lies below ids that others reserved: a switch there and back is seen here.

        Some rows at a time, so that requests are answered meanwhile.
        """
        for app_tag, mark in islice(marks, _ROWS_AT_A_TIME):
            self._tell_dropped(app_tag, self.engine.row_read(app_tag, mark))
        following = next(marks, None)
        if following is not None:
            self._loop.call_later(0.0, lambda: self._compare(chain((following,), marks)))

    # Health

    def health(self, now: float, app_tag: str) -> Listing | Refused:
        """Report one tag, ordered or not; of one that starts anew, the period that goes on."""
        row, _ = self._periods.drawn_from(app_tag, now)
        if app_tag in self.known:
            held = self.engine.health(now, row)
            cold = TagHealth(app_tag=row, state=TagState.COLD)
            return Listing.of(self._placed(cold if isinstance(held, Refused) else held))
        found = self._unordered.health(now, row)
        return found if isinstance(found, Refused) else Listing.of(found)

    def pools(self, app_tag: str) -> tuple[TagPool | None, TagPool | None]:
        """Look at what is held of a tag, as an ordinary and as an ordered one."""
        row, _ = self._periods.drawn_from(app_tag, self._clock())
        return self._unordered.by_tag.get(row), self.engine.by_tag.get(row)

    def named_users(self) -> Generator[None, None, set[str]]:
        """Name the users that tags are for; some tags at a time."""
        return named_users(self._unordered.by_tag, self.engine.by_tag)

    def listing(self, viewer: Viewer) -> Steps:
        """Report all tags, one entry for each, whatever it was before; some at a time."""
        return listing(self._unordered.by_tag, self.engine.by_tag, self._described, viewer)

    def _described(self, app_tag: str) -> TagHealth | None:
        now = self._clock()
        unordered, ordered = self.pools(app_tag)
        if ordered is None:
            return None if unordered is None else describe(unordered, now)
        tag = self._placed(describe(ordered, now))
        return tag if unordered is None else _sum(tag, describe(unordered, now))

    def _partition_of(self, row: str) -> int:
        """Tell whose a row is: that of a period is drawn from by the owner of its tag."""
        found = self._periods.period_of(row)
        return partition_of(row if found is None else row.removesuffix(found[1].row_of("")))

    def _placed(self, tag: TagHealth) -> TagHealth:
        partition = self._partition_of(tag.app_tag)
        owned = partition in self._partition_owner.delivered_to
        state = tag.state if owned else TagState.STANDBY
        return tag.model_copy(update={"partition": partition, "state": state})


def _belongs_to(request: DirectRequest) -> bool:
    return QUEUES[partition_of(request.request.app_tag)] == request.partition


def _sum(tag: TagHealth, earlier: TagHealth) -> TagHealth:
    """Add what was handed out before the tag became ordered."""
    return tag.model_copy(
        update={
            "left": tag.left + earlier.left,
            "segments": [*tag.segments, *earlier.segments],
            "waiters": tag.waiters + earlier.waiters,
            "ids_reserved": tag.ids_reserved + earlier.ids_reserved,
            "ids_handed_out": tag.ids_handed_out + earlier.ids_handed_out,
            "ids_lost": tag.ids_lost + earlier.ids_lost,
            "ids_given_back": tag.ids_given_back + earlier.ids_given_back,
        }
    )
