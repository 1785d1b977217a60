"""The channel on which a worker owns partitions: a message on it holds many requests, or is one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from idalloc_schemas import ALLOC_QUEUE
from idalloc_worker.ordered._bundles import OrderedRequest
from idalloc_worker.requests import Delivery, Session


@dataclass(slots=True, eq=False)
class _Message:
    """What is left to do of one bundle."""

    delivery: Delivery
    requests: list["BundledRequest"] = field(default_factory=list)
    unfinished: int = 0
    begun: bool = False
    """Whether a request of it is finished, so that it cannot be handed back as a whole."""


@dataclass(slots=True, eq=False)
class BundledRequest(Delivery):
    """One request out of a bundle, answered like one that came by itself."""

    message: _Message | None = None

    @property
    def returnable(self) -> bool:
        """Whether it may be handed back, which takes all of its bundle along."""
        return self.message is not None and not self.message.begun

    @property
    def owner_queue(self) -> str | None:
        """The queue of its partition."""
        return None if self.message is None else self.message.delivery.queue


@dataclass(slots=True, eq=False)
class DirectRequest(Delivery):
    """One that its caller has sent straight to the queue of its tag's owner."""

    partition: str = ""
    """The queue that it came from; otherwise it is like one from `id.alloc`."""
    admitted: bool = False
    """Whether its session owned the partition when it came."""
    drawn: bool = False
    """Whether it is answered as the owner does, and not passed on, or for an ordinary tag."""

    @property
    def owner_queue(self) -> str | None:
        """The queue of its partition, if that is where it belongs."""
        return self.partition if self.drawn else None


class OwnerSession(Session):
    """A session whose messages are bundles: acknowledged once all in them is answered."""

    leaving = False
    """Whether its channel is about to be given up, so that what is left goes back by itself."""

    def unpack(self, bundle: Delivery, requests: Sequence[OrderedRequest]) -> list[BundledRequest]:
        """Make a delivery of each request."""
        message = _Message(bundle, unfinished=len(requests))
        message.requests = [
            BundledRequest(
                self,
                bundle.tag,
                ALLOC_QUEUE,
                request.reply_to,
                request.correlation_id,
                bundle.redelivered,
                user=request.user,
                request=request.wanted,
                message=message,
            )
            for request in requests
        ]
        return message.requests

    def direct(self, delivery: Delivery) -> DirectRequest:
        """Make a request of a message that is one."""
        return DirectRequest(
            self,
            delivery.tag,
            ALLOC_QUEUE,
            delivery.reply_to,
            delivery.correlation_id,
            delivery.redelivered,
            user=delivery.user,
            partition=delivery.queue,
        )

    def finish(self, delivery: Delivery) -> None:
        """Count a request as done, and its bundle with the last one."""
        message = delivery.message if isinstance(delivery, BundledRequest) else None
        if message is None:
            super().finish(delivery)
        elif not delivery.finished:
            delivery.finished = message.begun = True
            message.unfinished -= 1
            if not message.unfinished:
                super().finish(message.delivery)

    def dead_letter(self, delivery: Delivery) -> None:
        """Refuse for good; one request of many does not take its bundle along."""
        if isinstance(delivery, BundledRequest):
            self.finish(delivery)
        else:
            super().dead_letter(delivery)

    def hand_back(self, delivery: Delivery) -> None:
        """Return a bundle to its queue, and with it every request in it."""
        message = delivery.message if isinstance(delivery, BundledRequest) else None
        for request in [] if message is None else message.requests:
            request.finished = True
        if not self.leaving:
            super().hand_back(delivery if message is None else message.delivery)
