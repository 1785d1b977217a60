"""Names that travel on the wire: queues, message types, content type."""

from typing import Final

ALLOC_QUEUE: Final = "id.alloc"
HEALTH_QUEUE: Final = "id.health"

ALLOC_REQUEST_TYPE: Final = "id.alloc.request"
ALLOC_REPLY_TYPE: Final = "id.alloc.reply"
HEALTH_REQUEST_TYPE: Final = "id.health.request"
HEALTH_REPLY_TYPE: Final = "id.health.reply"

CONTENT_TYPE: Final = "application/json"
