"""I/O loops, streams and channels below a link: what pika does, faster."""

from idalloc_client.amqp._io._asyncio_loop import AsyncioSelectorLoop
from idalloc_client.amqp._io._batched_io import JoinedIO
from idalloc_client.amqp._io._channel import PikaWire, Wire
from idalloc_client.amqp._io._frames import Envelope, Properties
from idalloc_client.amqp._io._guarded_loop import Callback, SelectorLoop
from idalloc_client.amqp._io._message_headers import ignore_message_headers, stream_offset, user_of
from idalloc_client.amqp._io._pika_io import PlainPika
from idalloc_client.amqp._io._write_batch import Turn

__all__ = [
    "AsyncioSelectorLoop",
    "Callback",
    "Envelope",
    "JoinedIO",
    "PikaWire",
    "PlainPika",
    "Properties",
    "SelectorLoop",
    "Turn",
    "Wire",
    "ignore_message_headers",
    "stream_offset",
    "user_of",
]
