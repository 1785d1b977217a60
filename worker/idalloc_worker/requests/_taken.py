"""Requests that were taken off their queue for good: answered like others, never acknowledged."""

from dataclasses import dataclass, replace
from typing import Final

from idalloc_client.amqp import Properties
from idalloc_worker.requests._session import Delivery, Session

_DEAD: Final = b"id.dead"
"""Where the shipped policies send dead letters; where it is missing, the broker drops them."""


@dataclass(slots=True, eq=False)
class Taken(Delivery):
    """A request with all that is needed to put it away: its queue has it no more."""

    properties: Properties | None = None
    body: bytes = b""

    @property
    def returnable(self) -> bool:
        """Whether it may be handed back: its queue has it no more, so its caller is told."""
        return False


class TakenSession(Session):
    """Answers on the worker's channel what came over another connection."""

    def take(self, queue: str, properties: Properties, body: bytes) -> Taken:
        """Make a delivery of a message: one that is suspected, as it says that it came again."""
        return Taken(
            self,
            0,
            queue,
            properties.reply_to,
            properties.correlation_id,
            redelivered=True,
            user=properties.user_id,
            properties=properties,
            body=body,
        )

    def finish(self, delivery: Delivery) -> None:
        """Count it as done: the broker has forgotten it."""
        if not delivery.finished:
            delivery.finished = True
            self._acks.flush_soon()  # tells how long it took

    def dead_letter(self, delivery: Delivery) -> None:
        """Put a copy where dead letters go, without what the broker would read in it."""
        if delivery.finished:
            return
        self.finish(delivery)
        if self.usable and isinstance(delivery, Taken) and delivery.properties is not None:
            self._channel.publish(_DEAD, as_copy(delivery.properties), delivery.body)

    def hand_back(self, delivery: Delivery) -> None:
        """Leave it to its caller, who asks again."""
        self.finish(delivery)


def as_copy(
    properties: Properties, user_id: bytes | None = None, *, aged: float = 0.0
) -> Properties:
    """Tell with which properties to publish what somebody else published, `aged` seconds ago.

    The broker closes the channel for another user's name, for a time that is no number, and for
    the pseudo-queue as the address of a reply; over AMQP 1.0 each may have been sent.
    """
    expiration = properties.expiration
    left = None
    if expiration is not None and expiration.isdigit() and len(expiration) <= 9:
        left = b"%d" % max(int(expiration) - int(aged * 1000), 0)
    return replace(properties, reply_to=None, user_id=user_id, expiration=left)
