"""Answers requests: joins the broker's deliveries, the engine and the refill threads.

All of it runs on the link's thread, which owns the engine and so needs no lock.
"""

import logging
import time
from collections.abc import Callable, Iterable

from idalloc_client.amqp import Channel, LinkThread, MessageChannel, Properties, ended_by_message
from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE, HealthCall
from idalloc_worker._runtime import Runtime
from idalloc_worker.counters import Counters, ThrottledLog
from idalloc_worker.engine import TO_PERIOD, Engine, Redirected
from idalloc_worker.fleet import Fleet
from idalloc_worker.health import HealthRequests
from idalloc_worker.marks import Vouching
from idalloc_worker.ordered import OrderedEngine, OrderedTags
from idalloc_worker.refill import GiveBacks, RefillCoordinator, RowWatch, record_outcome
from idalloc_worker.requests import (
    ADVICE,
    BEAT,
    FOR_FLEET,
    FOR_ORDERED,
    ORDERED,
    ChannelBudget,
    Delivery,
    Holding,
    Quarantine,
    Responder,
    Session,
    SideAnswers,
    TakenSession,
)
from idalloc_worker.rights import FleetUsers, HealthRights
from idalloc_worker.service._clocks import ClockWatch
from idalloc_worker.service._effect_runner import EffectRunner
from idalloc_worker.service._garbage import collect_if_due, collect_rarely
from idalloc_worker.service._local_queue import LocalQueue
from idalloc_worker.service._other_owners import OtherOwners
from idalloc_worker.service._request_queues import RequestQueues
from idalloc_worker.service._requests import Requests
from idalloc_worker.service._turns import Turns
from idalloc_worker.store import RefillOutcome, RefillThreads, Reservation
from idalloc_worker.templates import NewTags, PeriodTags, TemplateWatch
from idalloc_worker.traces import NewTraces, no_traces

_log = logging.getLogger("idalloc.worker")

_HEALTH_PREFETCH = 20
"""Health requests at a time: their answers may take 100 kB, and answers with ids wait for them."""


class WorkerService:
    """One worker: a link's handler that owns the engines, of ordered tags and of all others.

    All of it belongs to the link's thread, `thread`, which `new_thread` makes for a handler.
    """

    def __init__(  # noqa: PLR0913  # the parts of a worker
        self,
        engine: Engine,
        ordered_engine: OrderedEngine,
        new_thread: Callable[["WorkerService"], LinkThread],
        refill_threads: RefillThreads,
        *,
        name: str,
        prefetch: int,
        counters: Counters,
        vouching: Vouching | None = None,
        operators: Iterable[str] = (),
        users: FleetUsers | None = None,
        clock: Callable[[], float] = time.monotonic,
        clocks: ClockWatch | None = None,
        new_ordered_tags: type[OrderedTags] = OrderedTags,
        new_traces: NewTraces = no_traces,
        new_requests: Callable[..., Requests] = Requests,
    ) -> None:
        thread = self.thread = new_thread(self)
        link = self._link = thread.link
        traces = new_traces(link.call_later)
        runtime = Runtime(link, thread.post, refill_threads, counters, clock, traces)
        users = self._users = users or FleetUsers()
        self._engines = (engine, ordered_engine)
        self._name, self._prefetch, self._clock = name, prefetch, clock
        self._others = OtherOwners(
            self._engines,
            counters,
            link,
            clocks or ClockWatch(),
            lambda: fleet.marks.renew_key(),  # noqa: PLW0108  # there is none yet
        )
        self.on_foreign_claim = self._others.on_foreign_claim
        self.on_memory_set_back = self._others.on_memory_set_back
        self._throttled = ThrottledLog(_log)
        self._counters = counters
        self._session: Session | None = None
        self._budget = ChannelBudget()
        self._queues = RequestQueues(clock)
        self._local = LocalQueue(link.call_later)
        self._draining: Callable[[], None] | None = None
        self._side = SideAnswers(
            name,
            lambda handler: link.beside(handler, "(suspects)"),
            link.call_later,
            clock,
            users,
        )
        responder = self._responder = Responder(runtime, self._side, self._redirect)
        watch = TemplateWatch(runtime)
        periods = self._periods = PeriodTags(runtime, watch, self._forget, self._mark_of)
        self._ordered = new_ordered_tags(
            ordered_engine, engine, name, runtime, responder, self._run_effects, users, periods
        )
        fleet = self._fleet = Fleet(
            counters.events,
            link,
            name=name,
            users=users,
            owner=self,
            vouching=vouching,
            clock=clock,
        )
        self._fleet.marks.on_reserved = self._on_reserved_elsewhere
        stream = fleet.memory.stream
        stream.beside = lambda **given: link.beside(**given, what="(marks)", quiet=True)
        self._refills = RefillCoordinator(
            fleet, runtime, NewTags(runtime, watch, periods), self._record
        )
        self._give_backs = GiveBacks(fleet, runtime)
        self._row_watch = RowWatch(self._engines, fleet, runtime)
        self._turns = Turns(self._take, responder.shed, thread.post, prefetch)
        self._effects = EffectRunner(self._engines, runtime, responder, self._refills, self._turns)
        self._health = HealthRequests(
            name,
            runtime,
            fleet=fleet,
            ordered=self._ordered,
            responder=responder,
            rights=HealthRights(users, operators),
        )
        self._requests = new_requests(
            runtime,
            engine,
            self._ordered,
            self._health,
            responder,
            self._effects,
            self._turns,
            periods,
        )
        self._ordered.hand_requests_to(self._requests.take)
        self._quarantine = Quarantine(
            self,
            lambda **given: link.beside(**given, what="(singly)", quiet=True),
            link.call_later,
            clock,
            counters.events,
            users=users,
        )
        thread.post(self._beat)

    # Three circles are closed here: who answers and what is answered know each other.

    def _redirect(self, delivery: Delivery, to: Redirected) -> None:
        if to is TO_PERIOD:
            self._requests.to_period(delivery)
        else:
            self._ordered.redirect(delivery)

    def _mark_of(self, row: str) -> int:
        return self._fleet.marks.mark(row)

    def _forget(self, row: str) -> None:
        for engine in self._engines:
            engine.forget(row)

    def _on_reserved_elsewhere(self, app_tag: str, end: int) -> None:
        self._periods.reserved(app_tag)
        self._ordered.reserved_elsewhere(app_tag, end)

    def _run_effects(self) -> None:
        self._effects.run()

    def _take(
        self, delivery: Delivery, properties: Properties, body: bytes, came: float, /
    ) -> None:
        self._requests.take(delivery, properties, body, came)

    def _beat(self) -> None:
        self._responder.stalls.beat(self._clock())
        self._others.look_at_clocks()
        self._counters.marks_in_broker = self._fleet.memory.in_broker
        self._link.call_later(BEAT, self._beat)

    # The link's life

    def on_ready(self, channel: MessageChannel) -> None:
        """Consume both queues on a fresh channel."""
        if self._draining:
            return
        self._others.look_before_connecting()
        self._counters.connected_again()
        collect_rarely(rarely=not channel.leaves_cycles)
        pika_channel = channel.pika_channel
        self._users.log_in(pika_channel.connection)
        parts = (channel, self._name, self._link.call_soon, self._responder.on_replied)
        holding = Holding.within(self._prefetch, self._link.call_later)
        session = self._session = Session(*parts, users=self._users, holding=holding)
        self._taken = TakenSession(*parts, users=self._users)
        pika_channel.add_on_cancel_callback(
            lambda _frame: self._on_cancelled_by_broker(pika_channel)
        )
        self._queues.declare_if_missing(pika_channel)
        self._budget.begin(pika_channel.connection)
        self._tell_of_budget(session)

        def consume_requests() -> None:
            if not self._draining and session is self._session and session.usable:
                ordered, singly = self._budget.channels >= FOR_ORDERED, self._quarantine.active
                if ordered:
                    self._ordered.on_ready(pika_channel, own=not singly)
                if singly:
                    self._counters.consuming = True
                    self._quarantine.begin(ordered=ordered)
                else:
                    self._consume(session, ALLOC_QUEUE, lambda: self._on_serving(session))

        def join_fleet() -> None:
            if session is not self._session:
                return
            if self._budget.channels >= FOR_FLEET:
                self._fleet.connect(pika_channel.connection, consume_requests)
            else:
                self._fleet.do_without(ADVICE % self._budget.channels, consume_requests)

        # Requests only once all else is in place: ids would be spent on a channel that a missing
        # queue is about to close, or on segments that others know better about.
        self._health.begin(pika_channel.connection)
        if self._quarantine.active:
            self._listen(session, join_fleet)
        else:
            self._consume(session, HEALTH_QUEUE, lambda: self._listen(session, join_fleet))

    def _listen(self, session: Session, on_settled: Callable[[], None]) -> None:
        if session is self._session:
            self._health.listen(self._budget.channels, on_settled)

    def _tell_of_budget(self, session: Session) -> None:
        """Say what this worker does without, for want of channels; try again some time."""
        channels = self._budget.channels
        if channels >= FOR_ORDERED:
            return
        advice = ADVICE % channels
        self._ordered.do_without(advice)
        self._throttled.warning(
            self._clock(), "channels", "This worker serves no ordered tags: %s", advice
        )
        if self._budget.learned:
            self._link.call_later(self._budget.next_retry(), lambda: self._try_all(session))

    def _try_all(self, session: Session) -> None:
        if session is self._session and not self._draining:
            self._budget.forget()
            session.flush()
            self._link.reset_channel(ConnectionResetError("trying for more channels"))

    def _consume(self, session: Session, queue: str, on_consuming: Callable[[], None]) -> None:
        consumer_tag = f"{self._name} {queue.removeprefix('id.')}"
        session.limit(_HEALTH_PREFETCH if queue == HEALTH_QUEUE else self._prefetch)
        session.consume(queue, consumer_tag, self._requests.take, on_consuming)

    def _on_serving(self, session: Session) -> None:
        _log.info("Serving")
        if session is self._session and not self._draining:
            self._counters.consuming = True
            self._local.begin(session.connection, lambda queue: self._consume_local(session, queue))

    def _consume_local(self, session: Session, queue: str) -> None:
        if session is self._session and session.usable and not self._draining:
            session.limit(self._prefetch)
            session.consume_own(queue, ALLOC_QUEUE, f"{self._name} local", self._requests.take)

    def on_lost(self, reason: BaseException) -> None:
        """Forget the channel: its unanswered requests go to other workers."""
        self._session = None
        self._turns.clear()
        self._quarantine.stop()
        self._users.refused(reason)
        self._budget.on_lost(reason)
        self._side.distrust()
        if ended_by_message(reason):
            self._responder.beware()
            self._quarantine.suspect()
            self._fleet.memory.stream.beware()
        self._counters.disconnected()
        self._fleet.disconnect()
        self._health.disconnect()
        self._ordered.on_lost()
        self._queues.on_lost(reason)
        self._local.disconnect()
        if self._draining:
            self._finish_drain()
        else:
            collect_if_due()

    def on_blocked(self, *, blocked: bool) -> None:
        """Note it: answers wait in memory, no more of them than the prefetch allows."""
        self._counters.set_blocked(blocked=blocked)

    def _on_cancelled_by_broker(self, channel: Channel) -> None:
        if self._session is not None and channel.is_open and not self._draining:
            _log.warning("The broker cancelled a consumer (queue deleted or moved); starting anew")
            self._session.flush()
            self._link.reset_channel(ConnectionResetError("consumer cancelled by the broker"))

    # Requests that are taken singly

    def on_single(self, queue: str, properties: Properties, body: bytes) -> None:
        """Answer a request that was taken off its queue."""
        self._requests.take(self._taken.take(queue, properties, body), properties, body)

    def on_released(self, kind: str) -> None:
        """Consume as usual again."""
        session = self._session
        if kind == ORDERED:
            self._ordered.own()
        elif session is not None and session.usable:
            self._consume(session, kind, lambda: _log.info("Consuming %s", kind))

    def unsent(self) -> int:
        """Tell how many answers wait to be sent."""
        return self._side.waiting

    def on_health_call(self, call: HealthCall) -> None:
        """Answer a caller who asked the whole fleet through a worker of an earlier version."""
        self._health.on_call(call)

    # Refills

    def _record(self, outcome: RefillOutcome) -> None:
        """Tell the engine how a refill ended."""
        now = self._clock()
        refill, result = outcome.refill, outcome.result
        if isinstance(result, Reservation):
            self._periods.reserved(refill.app_tag)
            if not refill.ordered:
                self._ordered.reserved_elsewhere(refill.app_tag, result.segment.right)
        engine = self._engines[refill.ordered]
        self._counters.refilled(outcome, record_outcome(engine, outcome, now, self._throttled))
        self._effects.run_soon()

    # Stopping

    def drain(self, on_drained: Callable[[], None], patience: float) -> None:
        """Stop consuming, answer or hand back what was taken, give ids back, then say so.

        Giving back is cut off after `patience` seconds.
        """
        if self._draining:
            return
        self._draining = on_drained
        self._patience = patience
        self._row_watch.stop()
        if self._session is None or not self._session.usable:
            self._quarantine.stop()
            self._finish_drain()
        else:
            self._quarantine.finish(lambda: self._local.leave(self._cancel_consumers))

    def _cancel_consumers(self) -> None:
        if self._session is not None:  # else the link has told
            # Requests are handed back only once nothing is delivered any more: they would come
            # straight back otherwise.
            self._session.cancel(
                lambda: self._health.when_idle(lambda: self._ordered.drain(self._finish_drain))
            )

    def _finish_drain(self) -> None:
        on_drained, self._draining = self._draining, _already_drained
        if on_drained is None or on_drained is _already_drained:
            return
        self._turns.finish()
        for engine in self._engines:
            engine.close(self._clock())
        self._effects.run()
        self._ordered.flush()
        if self._session is not None:
            self._session.flush()
        self._link.call_later(self._patience, lambda: self._give_backs.give_up(on_drained))
        # A refill that is under way brings more to give back.
        pools = [pool for engine in self._engines for pool in engine.by_tag.values()]
        self._side.finish(
            lambda: self._refills.when_idle(lambda: self._give_backs.start(pools, on_drained))
        )


def _already_drained() -> None:
    """Stand in for the callback that was called."""
