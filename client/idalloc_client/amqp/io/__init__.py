"""I/O loops, streams and channels below a link: what pika does, faster."""

from idalloc_client.amqp.io._asyncio_loop import AsyncioSelectorLoop
from idalloc_client.amqp.io._batched_io import JoinedIO
from idalloc_client.amqp.io._channel import PikaWire, Wire
from idalloc_client.amqp.io._frames import Envelope, Properties
from idalloc_client.amqp.io._guarded_loop import SelectorLoop
from idalloc_client.amqp.io._pika_io import PlainPika
from idalloc_client.amqp.io._write_batch import Turn

__all__ = [
    "AsyncioSelectorLoop",
    "Envelope",
    "JoinedIO",
    "PikaWire",
    "PlainPika",
    "Properties",
    "SelectorLoop",
    "Turn",
    "Wire",
]
