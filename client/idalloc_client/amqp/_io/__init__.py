"""I/O loops, streams and channels below a link: what pika does, faster.

`_batched_io` is only imported by who is ready to fail: it may not load with another pika.
"""

from idalloc_client.amqp._io._asyncio_loop import AsyncioSelectorLoop
from idalloc_client.amqp._io._channel import MessageChannel, PikaChannel
from idalloc_client.amqp._io._epoll_loop import new_loop
from idalloc_client.amqp._io._frames import Envelope, Properties
from idalloc_client.amqp._io._guarded_loop import Callback, SelectorLoop
from idalloc_client.amqp._io._link_io import THIS_PROCESS, Compatibility, LinkIO
from idalloc_client.amqp._io._message_headers import ignore_message_headers, stream_offset, user_of
from idalloc_client.amqp._io._pika_io import PikaIO
from idalloc_client.amqp._io._waker import Waker

__all__ = [
    "THIS_PROCESS",
    "AsyncioSelectorLoop",
    "Callback",
    "Compatibility",
    "Envelope",
    "LinkIO",
    "MessageChannel",
    "PikaChannel",
    "PikaIO",
    "Properties",
    "SelectorLoop",
    "Waker",
    "ignore_message_headers",
    "new_loop",
    "stream_offset",
    "user_of",
]
