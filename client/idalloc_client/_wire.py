"""One open channel, as a link's handler uses it: pika's, with a shortcut for what is frequent."""

from collections.abc import Callable

from pika.channel import Channel

from idalloc_client._frames import FRAME_OVERHEAD, Properties, ack, content, publish_method
from idalloc_client._shortcut import OnDelivery, Shortcut

_MAX_KNOWN_KEYS = 64


class Wire:
    """Publishes, acknowledges and takes deliveries; it belongs to the thread of its link.

    All else is asked of `channel`. Both may be used side by side: bytes leave in the order of the
    calls.
    """

    def __init__(
        self, channel: Channel, write: Callable[[bytes], None], shortcut: Shortcut
    ) -> None:
        self.channel = channel
        self._number = channel.channel_number
        self._write = write
        self._shortcut = shortcut
        self._body_max = channel.connection.params.frame_max - FRAME_OVERHEAD
        self._methods: dict[tuple[bytes, bool], bytes] = {}

    @property
    def is_open(self) -> bool:
        """Whether what is written has an effect."""
        return bool(self.channel.is_open)

    def publish(
        self, routing_key: bytes, properties: Properties, body: bytes, *, mandatory: bool = False
    ) -> None:
        """Publish a transient message to the default exchange.

        Raises ValueError, with nothing written, for properties that cannot be.
        """
        method = self._methods.get((routing_key, mandatory))
        if method is None:
            method = publish_method(self._number, routing_key, mandatory=mandatory)
            if len(self._methods) < _MAX_KNOWN_KEYS:
                self._methods[routing_key, mandatory] = method
        self._write(method + content(self._number, properties, body, self._body_max))

    def ack(self, delivery_tag: int, *, multiple: bool) -> None:
        """Acknowledge one delivery, or all up to it."""
        self._write(ack(self._number, delivery_tag, multiple=multiple))

    def take(self, consumer_tag: str, on_delivery: OnDelivery) -> None:
        """Take the deliveries of a consumer, before `channel.basic_consume` starts it."""
        self._shortcut.take(self._number, consumer_tag.encode(), on_delivery)

    def forget(self) -> None:
        """Leave what is still to come to pika: the channel has ended."""
        self._shortcut.forget(self._number)
