"""A worker's part in the fleet: it tells what it reserves, hears the others, claims before use.

The rules, and why they keep ids unique, are in `docs/correctness.md`.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count, islice
from typing import Any

from idalloc_client._link import Timer
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
from idalloc_worker._fleet_channel import Callback, FleetChannel
from idalloc_worker._fleet_marks import FleetMarks, Watch
from idalloc_worker._segment import Segment

_log = logging.getLogger("idalloc.fleet")

_GATHER = 0.25  # seconds for the others to begin to answer a hello; alone, this is what it costs
_GATHER_LONGEST = 2.0  # seconds for those that have begun to come to an end
_SETTLE_LONGEST = 3.0  # seconds after which requests are taken, with the fleet or without
_CATCH_UP_LONGEST = 0.5  # seconds: then a row that lies too low is repaired on suspicion
_AS_IT_IS = "latin-1"  # bytes of any kind as JSON text, and back
_CHUNK = 500  # entries in a message: some milliseconds of work


class _State(Enum):
    DOWN = auto()
    """No channel just now: claims wait."""
    GATHERING = auto()
    """The others were asked for their marks: claims wait."""
    READY = auto()
    UNPROTECTED = auto()
    """The broker refuses: segments are used at once, as if this worker were alone."""


@dataclass(slots=True, eq=False)
class _Claim:
    watch: Watch
    segment: Segment
    on_done: Callable[[bool], None]


class Fleet:
    """Owned by the link's thread; callbacks run on it, some of them at once."""

    def __init__(
        self,
        counters: Counter[str],
        call_later: Callable[[float, Callback], Timer],
        *,
        name: str,
        on_health_call: Callable[[HealthCall], None],
    ) -> None:
        self.key = secrets.token_hex(8)
        """Names this life of the process: a worker that is restarted is another one."""
        self.marks = FleetMarks(self.key)
        self._counters = counters
        self._call_later = call_later
        self._on_health_call = on_health_call
        self._channel = FleetChannel(self, call_later, app_id=name)
        self._state = _State.DOWN
        self._claims: dict[_Claim, None] = {}
        self._catch_ups: dict[int, Callback] = {}
        self._echoes: dict[int, Callback] = {}
        self._numbers = count(1)
        self._answering: set[str] = set()  # workers whose marks are coming in
        self._generation = 0
        self._on_settled: Callback | None = None

    @property
    def speaking(self) -> bool:
        """Whether what is published now reaches the others."""
        return self._state is _State.READY

    @property
    def unprotected(self) -> bool:
        """Whether the broker keeps this worker from speaking to the others."""
        return self._state is _State.UNPROTECTED

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
        """Forget the connection."""
        self._on_settled = None
        self._channel.disconnect()
        self.on_fleet_lost()

    # Segments

    def claim(self, watch: Watch, segment: Segment, on_done: Callable[[bool], None]) -> object:
        """Tell all others of a segment, then hear them out; `on_done(True)`: it is ours alone.

        `watch` was begun before the segment was reserved. Returns what `forget` takes.
        """
        claim = _Claim(watch, segment, on_done)
        self._claims[claim] = None
        # Also where it cannot be told just now: whoever is met later hears of it.
        self.marks.reserved(self.key, watch.app_tag, segment.left, segment.right)
        self._proceed(claim)
        return claim

    def forget(self, claim: object) -> None:
        """Have no further use for the outcome of a claim."""
        if isinstance(claim, _Claim):
            self._claims.pop(claim, None)

    def catch_up(self, on_done: Callback) -> None:
        """Call back once all that was sent to this worker so far is handled, or time is up."""
        if self._state is _State.UNPROTECTED:
            on_done()
            return
        number = next(self._numbers)

        def caught_up() -> None:
            if self._catch_ups.pop(number, None) is not None:
                on_done()

        self._catch_ups[number] = caught_up
        self._call_later(_CATCH_UP_LONGEST, caught_up)
        if self._state is _State.READY:
            self._echo(caught_up)

    def surrender(self, app_tag: str, left: int, right: int, on_told: Callback) -> None:
        """Tell all others that `[left, right)` will never be used; `on_told` may never come."""
        self.marks.surrendered(self.key, app_tag, left, right)
        message = Surrendered(worker=self.key, app_tag=app_tag, left=left, right=right)
        self._channel.publish(message.encode(), on_told)

    def _proceed(self, claim: _Claim) -> None:
        if self._state is _State.UNPROTECTED:
            self._counters["claims_unprotected"] += 1
            self._end_claim(claim)
        elif self._state is _State.READY:
            watch, segment = claim.watch, claim.segment
            message = Reserved(
                worker=self.key, app_tag=watch.app_tag, left=segment.left, right=segment.right
            )
            # Told to all, then all heard: of two that claim the same, at least one hears the other.
            self._channel.publish(
                message.encode(), lambda: self._echo(lambda: self._end_claim(claim))
            )

    def _end_claim(self, claim: _Claim) -> None:
        if claim in self._claims:
            del self._claims[claim]
            segment = claim.segment
            claim.on_done(not claim.watch.overlaps(segment.left, segment.right))

    def _echo(self, on_back: Callback) -> None:
        number = next(self._numbers)
        self._echoes[number] = on_back
        self._channel.send(self._queue, Echo(worker=self.key, number=number).encode())

    # The channel's life

    def on_fleet_open(self, queue: str) -> None:
        """Ask the others, tell them what we know, and give them some time."""
        self._queue = queue
        self._state = _State.GATHERING
        self._counters["fleet_joins"] += 1
        self._answering.clear()
        self._generation += 1
        generation = self._generation
        self._channel.publish(Hello(worker=self.key, reply_to=queue).encode(), _nothing)
        if len(self.marks):
            # Whoever joined after us, and so could not answer, hears it all the same.
            self._send_marks(lambda body: self._channel.publish(body, _nothing))
        rounds = iter([_GATHER, *[0.05] * round((_GATHER_LONGEST - _GATHER) / 0.05)])

        def wait() -> None:
            if generation != self._generation or self._state is not _State.GATHERING:
                return
            pause = next(rounds, None)
            if pause is not None and (pause == _GATHER or self._answering):
                self._call_later(pause, wait)
            else:
                self._begin()

        wait()

    def on_fleet_lost(self) -> None:
        """Let claims wait for the next channel; nobody knows what became of their messages."""
        self._state = _State.DOWN
        self._echoes.clear()

    def on_fleet_refused(self, reason: str) -> None:
        """Go on without: ids first, protection as far as it can be had."""
        if self._state is not _State.UNPROTECTED:
            self._counters["fleet_refused"] += 1
            _log.warning(
                "This worker is not protected against a database that is set back: RabbitMQ keeps "
                "it from speaking to the others (%s). docs/operating.md names the rights that it "
                "needs on id.fleet",
                reason,
            )
        self._state = _State.UNPROTECTED
        self._echoes.clear()
        self._resume()

    def _begin(self) -> None:
        self._state = _State.READY
        self._resume()

    def _resume(self) -> None:
        for claim in list(self._claims):
            self._proceed(claim)
        for caught_up in list(self._catch_ups.values()):
            if self._state is _State.READY:
                self._echo(caught_up)
            else:
                caught_up()
        if self._on_settled is not None:
            self._settled(self._on_settled)

    def _settled(self, on_settled: Callback) -> None:
        if self._on_settled is on_settled:
            self._on_settled = None
            on_settled()

    # Messages

    def on_fleet_message(self, body: bytes, *, from_fleet: bool) -> None:
        """Take in what a worker says."""
        try:
            message = parse_fleet_message(body)
        except InvalidMessageError as error:
            self._counters["fleet_invalid"] += 1
            _log.debug("Ignored a message of the fleet: %s", error)
            return
        match message:
            case Echo(worker=self.key, number=number):
                on_back = self._echoes.pop(number, None)
                if on_back is not None:
                    on_back()
            case HealthCall() if from_fleet:
                self._on_health_call(message)
            case Reserved() | Surrendered() | Hello() | Marks() if message.worker != self.key:
                self._hear(message, from_fleet=from_fleet)

    def _hear(self, message: Reserved | Surrendered | Hello | Marks, *, from_fleet: bool) -> None:
        """Take in what another worker says."""
        match message:
            case Marks():
                self._on_marks(message)
            case Reserved() if from_fleet:
                self.marks.reserved(message.worker, message.app_tag, message.left, message.right)
            case Surrendered() if from_fleet:
                self.marks.surrendered(message.worker, message.app_tag, message.left, message.right)
            case Hello(reply_to=reply_to) if from_fleet:
                self._send_marks(lambda body: self._channel.send(reply_to, body))

    def _on_marks(self, message: Marks) -> None:
        self.marks.told(message.entries)
        if message.more:
            self._answering.add(message.worker)
        else:
            self._answering.discard(message.worker)

    def _send_marks(self, send: Callable[[bytes], None]) -> None:
        """Send all there is, some at a time, so that requests are answered meanwhile."""
        entries = self.marks.entries()

        def send_next(chunk: list[Any]) -> None:
            following = list(islice(entries, _CHUNK))
            send(Marks(worker=self.key, entries=chunk, more=bool(following)).encode())
            if following:
                self._call_later(0, lambda: send_next(following))

        send_next(list(islice(entries, _CHUNK)))

    # Health of the whole fleet

    def call_health(
        self, reply_to: bytes, correlation_id: bytes | None, app_tag: str | None
    ) -> None:
        """Pass a caller's question on to every worker, this one included."""
        message = HealthCall(
            worker=self.key,
            reply_to=reply_to.decode(_AS_IT_IS),
            correlation_id=None if correlation_id is None else correlation_id.decode(_AS_IT_IS),
            app_tag=app_tag,
        )
        self._channel.publish(message.encode(), _nothing)

    @staticmethod
    def address_of(call: HealthCall) -> bytes:
        """Tell whom to answer."""
        return call.reply_to.encode(_AS_IT_IS)

    @staticmethod
    def correlation_id_of(call: HealthCall) -> bytes | None:
        """Tell with what to answer."""
        number = call.correlation_id
        return None if number is None else number.encode(_AS_IT_IS)

    def node_at_risk(self, call: HealthCall) -> bytes | None:
        """See `ReplyAddresses.node_at_risk`."""
        return self._channel.addresses.node_at_risk(self.address_of(call))

    def answer_health(
        self,
        call: HealthCall,
        body: bytes,
        message_type: str,
        on_confirmed: Callback = lambda: None,
    ) -> None:
        """Answer the caller directly; `on_confirmed` runs once the broker has it, or never."""
        correlation_id = self.correlation_id_of(call)
        reply_to = self.address_of(call)
        if self._channel.addresses.admit(reply_to):
            self._channel.answer(reply_to, body, message_type, correlation_id, on_confirmed)
        else:  # a worker of an earlier version does not look
            on_confirmed()


def _nothing() -> None:
    """Take note of a confirm that nobody waits for."""
