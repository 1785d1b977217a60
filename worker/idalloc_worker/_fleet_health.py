"""Questions about the health of the whole fleet: one worker passes them on, each one answers."""

from collections.abc import Callable

from idalloc_schemas import HealthCall
from idalloc_worker._fleet_channel import FleetChannel
from idalloc_worker._fleet_marks import FleetMarks

_AS_IT_IS = "latin-1"  # bytes of any kind as JSON text, and back


class FleetHealth:
    """Owned by the link's thread."""

    def __init__(self, channel: FleetChannel, marks: FleetMarks) -> None:
        self._channel = channel
        self._marks = marks

    def call(self, reply_to: bytes, correlation_id: bytes | None, app_tag: str | None) -> None:
        """Pass a caller's question on to every worker, this one included."""
        message = HealthCall(
            worker=self._marks.me,
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

    def answer(
        self, call: HealthCall, body: bytes, message_type: str, on_confirmed: Callable[[], None]
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
