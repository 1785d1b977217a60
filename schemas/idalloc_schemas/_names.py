"""Names that travel on the wire: queues, message types, content type."""

from typing import Final

ALLOC_QUEUE: Final = "id.alloc"
HEALTH_QUEUE: Final = "id.health"
DEAD_QUEUE: Final = "id.dead"
"""Where the shipped policies put requests that cannot be answered, or that nobody took in time."""
REQUEST_EXCHANGE: Final = "id.requests"
"""Direct, bound to the two queues for requests under their names: who may write to it and to
nothing else can send requests, and no message to any other queue."""
LOCAL_EXCHANGE: Final = "id.local"
"""Of the type `x-local-random` (RabbitMQ 4): gives a request for ids to a worker that is connected
to the same node as its caller. Workers have a queue each, named with this, a dot and a random word.
"""
ORDERED_QUEUE_PREFIX: Final = "id.ordered."
"""A queue for each partition of the ordered tags, named with this and the partition's number."""
FLEET_EXCHANGE: Final = "id.fleet"
"""Fanout among workers; each has a queue of its own, named with this, a dot and a random word."""
FLEET_HEALTH_EXCHANGE: Final = "id.fleet.health"
"""Fanout among workers, for questions about health; queues are named with it as those above are."""
MARKS_STREAM: Final = "id.fleet.marks"
"""Stores what workers tell each other, for those that start when nobody is left to ask."""

ALLOC_REQUEST_TYPE: Final = "id.alloc.request"
ALLOC_REPLY_TYPE: Final = "id.alloc.reply"
HEALTH_REQUEST_TYPE: Final = "id.health.request"
HEALTH_REPLY_TYPE: Final = "id.health.reply"

CONTENT_TYPE: Final = "application/json"
