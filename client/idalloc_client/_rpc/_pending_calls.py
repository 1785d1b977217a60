"""The calls in flight on one link: sends them, sends them again, and matches their replies."""

import logging
import math
import time
import uuid
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Final, Protocol

from idalloc_client._errors import (
    CallTimeoutError,
    ClientClosedError,
    ConnectionLostError,
    IdAllocError,
    NoRouteError,
    QueueFullError,
    TooManyCallsError,
    fresh,
)
from idalloc_client._memory import MEMORY
from idalloc_client._options import ClientOptions
from idalloc_client._rpc._copies import Copies, CopyBudget, RoundTrip
from idalloc_client._rpc._login import Login
from idalloc_client._rpc._request_spec import RawReply, RequestSpec
from idalloc_client._rpc._retired_channels import RetiredChannels
from idalloc_client._rpc._route import Route
from idalloc_client._rpc._silent_channel import SilentChannel
from idalloc_client._stats import ClientCounters
from idalloc_client._traces import Carrier
from idalloc_client.amqp import (
    Basic,
    BasicProperties,
    Channel,
    ChannelClosedByBroker,
    Confirms,
    MessageChannel,
    Properties,
    describe,
    nothing,
)
from idalloc_schemas import CONTENT_TYPE

_log = logging.getLogger("idalloc.client")

_REPLY_TO = b"amq.rabbitmq.reply-to"
_CONSUMER_TAG = "replies"
_CONTENT_TYPE = CONTENT_TYPE.encode()
_OWNERS_PATIENCE = 0.2
"""Seconds before a request that went to its tag's owner, and is doubted, goes to any worker."""
CALM: Final = 5.0
"""Seconds after the last doubt before the broker is no longer asked of each message."""
_MAX_EXPIRATION_MS = 2**32 - 1  # the broker refuses a longer one


class PendingCall(Protocol):
    """A request on its way, and whoever waits for it."""

    spec: RequestSpec[Any]
    deadline: float
    """On the clock of `PendingCalls`."""
    carrier: Carrier | None
    """What takes its callers' trace context along, if any of them has one."""
    shortcut: str | None
    """The queue of its tag's owner, while it is to go there first."""

    def finish(self, outcome: RawReply | IdAllocError) -> None:
        """End the call; may come twice, and the first outcome stands."""


class PendingCalls:
    """A link's handler, over RabbitMQ's direct reply-to. It belongs to the link's thread."""

    def __init__(
        self,
        options: ClientOptions,
        counters: ClientCounters,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = Route(options.exchange)
        self._max_in_flight = options.max_in_flight
        self._login = Login(options.brokers)
        self._workers = options.workers
        self._clock = clock
        self.counters = counters
        self._numbers = count(1)
        self._prefix = uuid.uuid4().hex.encode()
        self._calls: dict[bytes, PendingCall] = {}
        self._channel: MessageChannel | None = None
        self._listening = False
        self.renew: Callable[[], None] = nothing
        """Has another channel come beside the present one."""
        self._renewing = False
        self._retired = RetiredChannels()
        self._confirms = False
        """Whether the broker says of each message if it took it; see `doubt`."""
        self._doubted_at = 0.0
        self._unconfirmed = Confirms[tuple[bytes, str]]()
        """What it has not said that of, and where it went, by number; in their order."""
        self.round_trip = RoundTrip()
        """Of requests for ids; whoever sends them tells it."""
        self._budget = CopyBudget(lambda: counters.requests)
        self._copies = Copies(self._budget)
        """Of what may not have been taken by a full queue, or may be lost."""
        self._silence = SilentChannel()
        self._blocked = False
        self._closed = False
        self.lost_reason: BaseException | None = None
        self._refused: IdAllocError | None = None
        """Why calls are not kept until there is a channel again."""
        self._process = MEMORY.process()
        self._restores = self._process.restores

    @property
    def connected(self) -> bool:
        """Whether requests leave at once."""
        return self._channel is not None

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: PendingCall) -> bytes:
        """Take a call, send it as soon as there is a channel, and return its correlation id."""
        correlation_id = b"%s-%d" % (self._prefix, next(self._numbers))
        if self._closed:
            call.finish(ClientClosedError("the client is closed"))
        elif len(self._calls) >= self._max_in_flight:
            call.finish(TooManyCallsError(f"{self._max_in_flight} calls are in flight already"))
        elif self._refused is not None:
            call.finish(fresh(self._refused))
        else:
            self._calls[correlation_id] = call
            self._send(correlation_id, call)
        return correlation_id

    def forget(self, correlation_id: bytes) -> None:
        """Stop waiting for a reply."""
        self._calls.pop(correlation_id, None)
        self._copies.forget(correlation_id)

    def keep(self, correlation_id: bytes, call: PendingCall) -> None:
        """Wait for one more reply to a request that several answer."""
        if not self._closed:
            self._calls[correlation_id] = call

    def close(self, error: IdAllocError) -> None:
        """End every call, and with `ClientClosedError` those that still come."""
        self._closed = True
        self._end_all(error)

    def overdue(self, queue: str) -> IdAllocError:
        """Say why a call has no reply at its deadline."""
        error = self._why_overdue(queue)
        error.__cause__ = self.lost_reason
        return error

    def _why_overdue(self, queue: str) -> IdAllocError:
        if self._blocked:
            return CallTimeoutError("the broker blocks publishers: it is short of memory or disk")
        if self._channel is None:
            words = describe(self.lost_reason)
            return ConnectionLostError(f"no connection to the broker: {words}")
        if self._copies.refused:
            return QueueFullError()
        foreign = "; replies came that no user in `workers` sent"
        return CallTimeoutError(
            f"no reply from queue {queue!r} in time: does a worker run and keep up?"
            f"{foreign if self.counters.foreign_replies else ''}"
        )

    # Requests that are lost, or refused by a full queue

    def doubt(self, correlation_id: bytes) -> None:
        """Hear, again and again, that a call waits for long: its request may not have been taken.

        From now on the broker says of each message whether it took it. Not always: it takes a
        tenth of the calls a client can make (`lone_call`, `async_singles`). So calm has `look` go
        on with another channel. The request may be sent once more (`Copies`), and whichever is
        answered first counts: at worst ids are wasted.
        """
        channel = self._channel
        if channel is None or not self._listening or not channel.is_open or self._blocked:
            return
        call = self._calls.get(correlation_id)
        if call is None:
            return
        now = self._doubted_at = self._clock()
        if not self._confirms:
            self._confirms = True
            self._copies.begin(self._calls, correlation_id, now)
            self._silence.begin(now)
            channel.confirm(partial(self._on_confirm, self._unconfirmed))
        if call.shortcut is not None:  # there is another way, and each takes it once
            wanted = self._copies.are_due(correlation_id, now, _OWNERS_PATIENCE)
        else:
            wanted = self._copies.wants(correlation_id, now, self.round_trip.patience)
        if wanted:
            self.counters.resent += 1
            self._send(correlation_id, call, again=True)
        elif self._silence.given_up(now):
            _log.info("The broker refuses requests on this channel: sending them over another")
            channel.pika_channel.close()  # `on_lost` follows

    def look(self, now: float) -> None:
        """Hear now and then what time it is, while calls are in flight."""
        for lost in self._retired.close_idle(self._calls.keys()):
            self.counters.resent += 1
            self._send(lost, self._calls[lost])
        calm = self._confirms and now - self._doubted_at >= CALM
        if calm and not (self._renewing or self._retired):
            self._renewing = True
            self.renew()

    def _on_listening(self, channel: MessageChannel) -> None:
        """Note that the channel waits for no answer: what is said on it now leaves in its order."""
        self._listening |= channel is self._channel

    # What the link says

    def on_ready(self, channel: MessageChannel) -> None:
        """Listen for replies, then send what waited or may have been lost with the connection.

        Beside a channel that lives nothing is lost: it goes on to answer what it was sent.
        """
        before, self._channel = self._channel, channel
        channel.exchange = self._route.exchange
        channel.pika_channel.add_on_return_callback(self._on_return)
        on_listening = partial(self._on_listening, channel)
        channel.consume(
            _REPLY_TO.decode(), _CONSUMER_TAG, self._on_reply, on_listening, auto_ack=True
        )
        self._ask_no_more()
        if before is not None:
            self._retired.add(before, self._calls)
            self.look(self._clock())  # nobody may wait, or it may have ended just now
            return
        self.counters.connects += 1
        self.lost_reason = self._refused = None
        self._login.look()
        self._process.look_at_clocks()
        self._restores = self._process.restores
        self._send_all()

    def on_lost(self, reason: BaseException) -> None:
        """Keep the calls: they are sent again as soon as there is a channel."""
        if self._channel is not None:
            self.counters.connections_lost += 1
            self.counters.resent += len(self._calls)
        self._channel = None
        self._retired.expect_nothing()
        if self._renewing and not isinstance(reason, ChannelClosedByBroker):
            self.renew = nothing  # the user may have no right to one more channel
        self._ask_no_more()
        self._login.refused(reason)
        self.lost_reason = reason
        self._blocked = False
        self._refused = None
        if isinstance(reason, ChannelClosedByBroker):
            self._refused = self._route.refused(reason, self._clock())
        if self._refused is not None:
            self._end_all(self._refused)

    def _ask_no_more(self) -> None:
        """Begin anew, on another channel."""
        self._listening = self._confirms = self._renewing = False
        self._unconfirmed = Confirms()
        self._silence.end()
        self._copies = Copies(self._budget)

    def on_blocked(self, *, blocked: bool) -> None:
        """Hold requests back while the broker does not read: they would leave out of date."""
        self._blocked = blocked
        self.counters.blocked += blocked
        if not blocked:
            self._send_all()

    # Messages

    def _send_all(self) -> None:
        for correlation_id, call in list(self._calls.items()):
            self._send(correlation_id, call)

    def _end_all(self, error: IdAllocError) -> None:
        calls = list(self._calls.values())
        self._calls.clear()  # first: what an end leads to may be calls that end in their turn
        for call in calls:
            call.finish(fresh(error))

    def _send(self, correlation_id: bytes, call: PendingCall, *, again: bool = False) -> None:
        """Send a call if that is possible now; else it waits for the next channel, or its end."""
        try:
            self._publish(correlation_id, call, again=again)
        except Exception:  # noqa: BLE001  # one call must not keep the others from leaving
            _log.exception("A request could not be sent")

    def _publish(self, correlation_id: bytes, call: PendingCall, *, again: bool) -> None:
        now = self._clock()
        remaining_ms = math.ceil((call.deadline - now) * 1000)
        channel = self._channel
        if channel is None or not channel.is_open or self._blocked or remaining_ms <= 0:
            return
        spec = call.spec
        if call.shortcut is not None:
            if again:
                self._route.owner_missed(now)
            call.shortcut = self._route.to_owner(call.shortcut, now)
        properties = Properties(
            content_type=_CONTENT_TYPE,
            correlation_id=correlation_id,
            reply_to=_REPLY_TO,
            expiration=b"%d" % min(remaining_ms, _MAX_EXPIRATION_MS),
            type=spec.message_type.encode(),
            user_id=self._login.user_id,
        )
        carrier = call.carrier
        if carrier is not None:
            properties.headers = carrier.headers
        queue, other = call.shortcut or spec.queue, self._route.other(spec.queue, now, again=again)
        key = queue.encode()
        try:
            channel.publish(key, properties, spec.body, mandatory=True, exchange=other)
        except ValueError as error:  # a trace context that is no text, or fits into no frame
            _log.debug("A request goes without its trace context: %s", error)
            properties.headers = None
            channel.publish(key, properties, spec.body, mandatory=True, exchange=other)
        if carrier is not None:
            carrier.headers = properties.headers
            exchange = channel.exchange if other is None else other
            carrier.sent(correlation_id, channel.server, exchange.decode())
        if self._confirms:
            self._unconfirmed.add((correlation_id, queue))

    def _on_reply(
        self,
        _tag: int,
        _redelivered: bool,  # noqa: FBT001
        properties: Properties,
        body: bytes,
    ) -> None:
        if self._restores != self._process.restores:
            return  # it may have come before memory was set back, and the call is asked again
        if self._workers and properties.user_id not in self._workers:
            self.counters.foreign_replies += 1
            _log.debug("Ignored a reply that no worker sent")
            return
        call = self._calls.pop(properties.correlation_id or b"", None)
        if call is None:
            self.counters.late_replies += 1
            _log.debug("Ignored a reply that is late or was not asked for")
        else:
            call.finish(RawReply(body, (properties.app_id or b"").decode(errors="replace")))

    def _on_confirm(
        self,
        unconfirmed: Confirms[tuple[bytes, str]],
        number: int,
        multiple: bool,  # noqa: FBT001
        taken: bool,  # noqa: FBT001
    ) -> None:
        """End the calls whose request the broker did not take: nobody will answer them."""
        now = self._clock()
        if not taken:
            self._doubted_at = now
        elif unconfirmed is self._unconfirmed:
            self._silence.taken()
        for correlation_id, queue in unconfirmed.settle(number, multiple=multiple).values():
            call = self._calls.get(correlation_id)
            if not taken and call is not None and queue != call.spec.queue:
                self._send_around_owner(correlation_id, call)
                continue
            if self._copies.told(correlation_id, now, taken=taken) or taken:
                continue
            if call is not None:
                del self._calls[correlation_id]
                call.finish(QueueFullError())

    def _send_around_owner(self, correlation_id: bytes, call: PendingCall) -> None:
        """Send a request to any worker that its owner's queue did not take, unless it has been."""
        if call.shortcut is not None:
            self._send(correlation_id, call, again=True)

    def _on_return(
        self, _channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        correlation_id = str(properties.correlation_id).encode()
        call = self._calls.get(correlation_id)
        if call is None:
            return
        if method.routing_key != call.spec.queue:
            self._send_around_owner(correlation_id, call)
            return
        if self._route.returned(str(method.exchange), self._clock()):
            self._send(correlation_id, call)
            return
        del self._calls[correlation_id]
        call.finish(NoRouteError(str(method.routing_key), str(method.exchange)))
