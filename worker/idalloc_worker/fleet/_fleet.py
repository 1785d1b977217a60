"""A worker's part in the fleet: it tells what it reserves, hears the others, claims before use.

The rules, and why they keep ids unique, are in `docs/correctness.md`.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from idalloc_client.amqp import Callback, nothing
from idalloc_schemas import (
    Echo,
    HealthCall,
    Hello,
    InvalidMessageError,
    Marks,
    Reserved,
    Surrendered,
    parse_fleet_message,
)
from idalloc_worker.counters import Event, Events
from idalloc_worker.fleet._claims import Claim, Claims
from idalloc_worker.fleet._echoes import Echoes
from idalloc_worker.fleet._greetings import Greetings
from idalloc_worker.fleet._own_messages import OwnMessages
from idalloc_worker.fleet._state import FleetState
from idalloc_worker.marks import (
    FleetChannel,
    FleetLoop,
    FleetMarks,
    FleetMemory,
    FleetOwner,
    Objections,
    Vouching,
    Watch,
    new_key,
)
from idalloc_worker.rights import FleetGate, FleetUsers
from idalloc_worker.tags import Segment

_log = logging.getLogger("idalloc.fleet")

_GATHER = 0.25  # seconds for the others to begin to answer a hello; alone, this is what it costs
_GATHER_LONGEST = 2.0  # seconds for those that have begun to come to an end
_SETTLE_LONGEST = 15.0  # seconds after which requests are taken, with the fleet or without
_MUTE_AFTER = 1.0  # seconds without a confirm after which nothing more is reserved
_RESTART_AFTER = 5.0  # seconds after which another channel is tried, or it is done without
_GREETED_AFTER = 2.0  # of a greeting: requests wait for it, and a frozen node may hold it up


class Fleet:
    """Owned by the link's thread; callbacks run on it, some of them at once."""

    def __init__(  # noqa: PLR0913  # its surroundings
        self,
        counters: Events,
        loop: FleetLoop,
        *,
        name: str,
        users: FleetUsers,
        owner: FleetOwner,
        vouching: Vouching | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.marks = FleetMarks(new_key())
        self.vouching = vouching or Vouching()
        self._counters = counters
        call_later = self._call_later = loop.call_later
        self._owner = owner
        self.on_memory_set_back = owner.on_memory_set_back
        self._clock = clock
        gate = FleetGate(users, counters, clock)
        self._users = users
        self._channel = FleetChannel(self, loop, app_id=name, gate=gate, clock=clock)
        self._objections = Objections(owner.on_foreign_claim, self._tell, counters)
        self.memory = FleetMemory(
            self,
            self.marks,
            self.vouching,
            counters,
            call_later,
            objections=self._objections,
            gate=gate,
            app_id=name,
        )
        self.on_fleet_gap = self.memory.on_gap
        self._own = OwnMessages()
        self._state = FleetState.DOWN
        self._when_able: list[Callback] = []
        self._echoes = Echoes(self._send_echo, call_later, clock)
        self._claims = Claims(self._tell, self._echoes.echo, self._hears, counters)
        self.forget = self._claims.forget
        self._answering: set[str] = set()  # workers whose marks are coming in
        self._asked = False  # whether the others may answer, each straight to this worker
        self._greetings = Greetings(clock)
        self._generation = 0
        self._on_settled: Callback | None = None

    @property
    def key(self) -> str:
        """Names this life of the process: a worker that is restarted is another one."""
        return self.marks.me

    @property
    def speaking(self) -> bool:
        """Whether what is published now reaches the others."""
        return self._state is FleetState.READY

    @property
    def unprotected(self) -> bool:
        """Whether the broker keeps this worker from speaking to the others."""
        return self._state is FleetState.UNPROTECTED

    @property
    def able(self) -> bool:
        """Whether a segment that is reserved now can be claimed, or needs no claim."""
        return self.unprotected or (self.speaking and self._silence < _MUTE_AFTER)

    @property
    def _silence(self) -> float:
        """Seconds that the oldest message has waited for the broker."""
        since = min(self._channel.waiting_since, self._echoes.waiting_since)
        return max(self._clock() - since, 0.0)

    def connect(self, connection: Any, on_settled: Callback) -> None:
        """Join over a fresh connection; `on_settled` once requests may be taken."""
        self._on_settled = on_settled
        self._channel.connect(connection)
        self._call_later(_SETTLE_LONGEST, lambda: self._settled(on_settled))

    def do_without(self, reason: str, on_settled: Callback) -> None:
        """Stay alone on a connection that has no channel to spare."""
        self._on_settled = on_settled
        self.on_fleet_refused(reason)

    def disconnect(self) -> None:
        """Forget the connection: claims wait for the next one."""
        self._on_settled = None
        self._channel.disconnect()
        self._state = FleetState.DOWN
        self.on_fleet_lost()

    # Segments

    def when_able(self, callback: Callback) -> None:
        """Call back once what is reserved can also be claimed: at once, nearly always."""
        if self.able:
            callback()
        else:
            self._when_able.append(callback)

    def claim(self, watch: Watch, segment: Segment, on_done: Callable[[bool], None]) -> object:
        """Tell all others of a segment, then hear them out; `on_done(True)`: it is ours alone.

        `watch` was begun before the segment was reserved. Returns what `forget` takes.
        """
        claim = Claim(watch, segment, on_done)
        self._claims.add(claim)
        # Also where it cannot be told just now: whoever is met later hears of it.
        self.marks.reserved(self.key, watch.app_tag, segment.left, segment.right)
        self._proceed(claim)
        return claim

    def catch_up(self, on_done: Callback) -> None:
        """Call back once all that was sent to this worker so far is handled, or time is up."""
        if self._state is FleetState.UNPROTECTED:
            on_done()
        else:
            self._echoes.catch_up(on_done, send=self.speaking)

    def surrender(self, app_tag: str, left: int, right: int, rest: int, on_told: Callback) -> None:
        """Tell all others that `[left, right)` will never be used; `on_told` may never come.

        `rest` is where the ids end that this worker has, or had, besides.
        """
        self.marks.surrendered(self.key, app_tag, left, right, rest)
        message = Surrendered(worker=self.key, app_tag=app_tag, left=left, right=right, rest=rest)
        self._channel.publish(message.encode(), on_told)

    def keep(self, app_tag: str, left: int, right: int) -> None:
        """Tell all others that what was surrendered was not given back: it counts as reserved."""
        self.marks.reserved(self.key, app_tag, left, right, kept=True)
        self._tell(app_tag, left, right, nothing, kept=True)

    def _proceed(self, claim: Claim) -> None:
        if self._state is FleetState.UNPROTECTED:
            self._claims.do_without(claim)
        elif self._state is FleetState.READY:
            self._claims.make(claim)

    def _tell(  # what the message says
        self, app_tag: str, left: int, right: int, on_told: Callback, *, kept: bool | None = None
    ) -> None:
        at = self.vouching.now()
        message = Reserved(
            worker=self.key, app_tag=app_tag, left=left, right=right, at=at, kept=kept
        )
        self._own.sent(message)
        self.publish(message.encode(), on_told)

    def _hears(self, app_tag: str, left: int) -> bool:
        """Whether its own claim came back through the exchange, as those of all others do."""
        if deaf := self._own.awaits(app_tag, left):
            self.on_deaf()
        return not deaf

    def on_deaf(self) -> None:
        """Join anew: the exchange was deleted and made again, or a binding was removed."""
        self._channel.restart("what is said to the exchange id.fleet does not come here")

    def _send_echo(self, number: int) -> None:
        self._channel.send(self._queue, Echo(worker=self.key, number=number).encode())

    # The channel's life

    def publish(self, body: bytes, on_told: Callback) -> None:
        """Tell all workers, and the stream; `on_told` once all have it, or never."""

        def on_confirmed() -> None:
            on_told()
            self._release()

        self._channel.publish(body, on_confirmed)

    def on_fleet_open(self, queue: str) -> None:
        """See whether the broker passes on what is said."""
        self._queue = queue
        self._own.renew(queue)
        if self._state is not FleetState.UNPROTECTED:
            self._state = FleetState.GREETING
        self._counters[Event.FLEET_JOINS] += 1
        self._answering.clear()
        self._asked = False
        self._generation += 1
        generation = self._generation
        self._greetings.begin()
        self.publish(Echo(worker=self.key, number=0).encode(), lambda: self._on_greeted(generation))
        self._watch_silence(generation)

    def _watch_silence(self, generation: int) -> None:
        """Do not wait for ever for a broker that takes messages and says nothing."""

        def look() -> None:
            if generation != self._generation or self._state is FleetState.DOWN:
                return
            greeted = self._state is not FleetState.GREETING
            if self._silence > (_RESTART_AFTER if greeted else _GREETED_AFTER):
                self._on_greeting_failed(3, "it does not confirm what is published")
                self._channel.restart("the broker does not confirm what is said")
            else:
                self._watch_silence(generation)

        self._call_later(_MUTE_AFTER, look)

    def _on_greeted(self, generation: int) -> None:
        """Read what the broker remembers."""
        if generation == self._generation:
            self._state = FleetState.READING
            self._greetings.confirmed()
            self._channel.works()
            self.memory.connect(self._channel.connection)

    def on_memory_read(self, *, whole: bool) -> None:
        """Begin with what the stream holds, or ask the others, if it does not hold everything."""
        if self._state is not FleetState.READING:
            return  # it was tried again later
        self._state = FleetState.GATHERING
        generation = self._generation
        if whole:
            # A broker that crashed may have lost what was said last.
            self.memory.repeat_own()
            # What was on its way to a queue of old when ours was bound is in the stream by then.
            self._call_later(self._greetings.pause, lambda: self._begin(generation))
        else:
            self._gather(generation)

    def _gather(self, generation: int) -> None:
        """Ask the others, tell them what we know, and give them some time."""
        self.marks.missed()
        self._asked = True
        self.publish(Hello(worker=self.key, reply_to=self._queue).encode(), nothing)
        if len(self.marks):
            # Whoever joined after us, and so could not answer, hears it all the same.
            self.memory.write_snapshot()
        rounds = iter([_GATHER, *[0.05] * round((_GATHER_LONGEST - _GATHER) / 0.05)])

        def wait() -> None:
            if generation != self._generation or self._state is not FleetState.GATHERING:
                return
            pause = next(rounds, None)
            if pause is None or not (pause == _GATHER or self._answering):
                self._begin(generation)
            else:
                self._call_later(pause, wait)

        wait()

    def _begin(self, generation: int) -> None:
        if generation == self._generation and self._state is FleetState.GATHERING:
            self._state = FleetState.READY
            # Ordered tags want the channel that the stream was read on.
            self.memory.begin(self._resume)

    def on_fleet_nacked(self) -> None:
        """Count it if it was the greeting."""
        self._on_greeting_failed(1, "a queue of the exchange id.fleet refuses messages")

    def _on_greeting_failed(self, weight: int, reason: str) -> None:
        """Do without where one greeting after the other does not get through."""
        if self._state is FleetState.GREETING and self._greetings.failed(weight):
            self.on_fleet_refused(reason)

    def on_fleet_lost(self) -> None:
        """Let claims wait for the next channel; nobody knows what became of their messages."""
        if self._state is not FleetState.UNPROTECTED:
            self._state = FleetState.DOWN
        self._generation += 1
        self._echoes.forget()
        self.memory.disconnect()

    def on_fleet_refused(self, reason: str) -> None:
        """Go on without: ids first, protection as far as it can be had."""
        if self._state is not FleetState.UNPROTECTED:
            self._counters[Event.FLEET_REFUSED] += 1
            _log.warning(
                "This worker is not protected against a database that is rolled back: RabbitMQ "
                "keeps it from speaking to the others (%s). docs/broker.md names the rights that "
                "it needs on id.fleet",
                reason,
            )
        self._state = FleetState.UNPROTECTED
        self._echoes.forget()
        self._resume()

    def _resume(self) -> None:
        if not (self.speaking or self.unprotected):
            return  # lost meanwhile
        self._claims.resume(self._proceed)
        self._echoes.resume(send=self.speaking)
        self._release()
        self._settled(self._on_settled)

    def _release(self) -> None:
        if self._when_able and self.able:
            waiting, self._when_able = self._when_able, []
            for callback in waiting:
                callback()

    def _settled(self, on_settled: Callback | None) -> None:
        if on_settled is not None and self._on_settled is on_settled:
            self._on_settled = None
            on_settled()

    # Messages

    def on_fleet_message(self, body: bytes, *, from_fleet: bool) -> None:
        """Take in what a worker says."""
        try:
            message = parse_fleet_message(body)
        except InvalidMessageError as error:
            self._counters[Event.FLEET_INVALID] += 1
            _log.debug("Ignored a message of the fleet: %s", error)
            return
        if from_fleet:
            self.memory.heard(message)
        match message:
            case Echo(worker=self.key, number=number):
                self._echoes.back(number)
                self._release()
            case HealthCall() if from_fleet:
                self._owner.on_health_call(message)
            case Reserved() | Hello() if from_fleet and message.worker == self.key:
                if not self._own.heard(message):
                    self.on_memory_set_back("another process speaks under its key")
            case Reserved() | Surrendered() | Hello() | Marks() if message.worker != self.key:
                self._hear(message, from_fleet=from_fleet)

    def _hear(self, message: Reserved | Surrendered | Hello | Marks, *, from_fleet: bool) -> None:
        """Take in what another worker says."""
        match message:
            case Marks() if from_fleet or (self._asked and self._users.known):
                self._on_marks(message)
            case Reserved() | Surrendered() if from_fleet:
                self.memory.take_in(message)
                if isinstance(message, Reserved):
                    self._objections.heard(message)
            case Hello(reply_to=reply_to) if from_fleet:
                self.memory.answer(lambda body: self._channel.send(reply_to, body))

    def _on_marks(self, message: Marks) -> None:
        self.memory.take_in(message)
        if message.more:
            self._answering.add(message.worker)
        else:
            self._answering.discard(message.worker)
