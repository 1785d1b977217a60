"""Rules of the frames, streams and channels that work beside pika's."""

from typing import Final

from tests.mutations._rule import Rule

_IO = "client/idalloc_client/amqp/_io"
_READER = f"{_IO}/_delivery_reader.py"
_LAYOUT = f"{_IO}/_delivery_layout.py"
_FRAMES = f"{_IO}/_frames.py"
_BATCHED = f"{_IO}/_batched_io.py"
_STREAM = f"{_IO}/_batched_stream.py"
_CHANNEL = f"{_IO}/_channel.py"

_FRAME_TESTS = ("tests/unit/amqp/test_frames.py",)
_LONG_TESTS = ("tests/unit/amqp/test_long_bodies.py",)
_IO_TESTS = ("tests/unit/amqp/test_batched_io.py",)
_STREAM_TESTS = ("tests/unit/amqp/test_batched_stream.py",)
_CHANNEL_TESTS = ("tests/unit/amqp/test_fast_channel.py",)

FRAMES: Final = (
    Rule(
        "A channel that ends takes no other's consumers along.",
        _READER,
        "for key, value in self._consumers.items() if key[0] != channel",
        "for key, value in self._consumers.items() if False",
        _FRAME_TESTS,
    ),
    Rule(
        "A body that is kept from pika is that of its channel.",
        _READER,
        "elif kind == BODY and channel in self._skipping:",
        "elif kind == BODY and self._skipping:",
        _LONG_TESTS,
    ),
    Rule(
        "A channel that ends in the middle of a body that is too long leaves nothing of it.",
        _READER,
        "        self._skipping.pop(channel, None)\n        self._incoming",
        "        self._incoming",
        _LONG_TESTS,
    ),
    Rule(
        "A message after one that was cut off is whole.",
        _READER,
        "            self._skipping.pop(channel, None)\n            payload",
        "            payload",
        _LONG_TESTS,
    ),
    Rule(
        "The broker's protocol header is told as a whole.",
        _READER,
        "data.startswith(_PROTOCOL_HEADER) and len(data) >= _WITH_VERSION",
        "data.startswith(_PROTOCOL_HEADER)",
        _FRAME_TESTS,
    ),
    Rule(
        "A frame that does not end where it should ends the connection.",
        _READER,
        "if data[after - 1] != FRAME_END[0]:",
        "if False:",
        _FRAME_TESTS,
    ),
    Rule(
        "A delivery like earlier ones ends where it should.",
        _LAYOUT,
        "if ended != _END or data[after - 1] != _END:",
        "if ended != _END:",
        _FRAME_TESTS,
    ),
    Rule(
        "A body is no longer than its header says.",
        _READER,
        "        if self.missing < 0:\n",
        "        if False:\n",
        _FRAME_TESTS,
    ),
    Rule(
        "A body comes after its header.",
        _READER,
        "        if self.size is None:\n",
        "        if False:\n",
        _FRAME_TESTS,
    ),
    Rule(
        "Only a consumer that asks is told the exchange.",
        _READER,
        "exchange = read_exchange(payload) if tell_exchange else None",
        "exchange = read_exchange(payload)",
        _FRAME_TESTS,
    ),
    Rule(
        "Properties that go on with more flags are none.",
        _FRAMES,
        "    if flags & _MORE_FLAGS:\n        return properties\n",
        "",
        _FRAME_TESTS,
    ),
    Rule(
        "Properties end within their frame.",
        _FRAMES,
        "    if at > len(payload):\n",
        "    if False:\n",
        _FRAME_TESTS,
    ),
    Rule(
        "What a consumer raises says nothing about pika.",
        _BATCHED,
        "        except ConsumerError as error:\n            raise error.cause from None",
        "        except ConsumerError as error:\n"
        "            self._on_doubt(self, error.cause)\n"
        "            raise error.cause from None",
        _IO_TESTS,
    ),
    Rule(
        "What follows a read leaves with what the read led to.",
        _BATCHED,
        """\
                try:
                    protocol.reader.feed(data)
                finally:  # what was answered is acknowledged, too
                    self._after_read()
""",
        """\
                protocol.reader.feed(data)
            self._after_read()
""",
        _IO_TESTS,
    ),
    Rule(
        "What was answered before a consumer raised is acknowledged.",
        _BATCHED,
        """\
                finally:  # what was answered is acknowledged, too
                    self._after_read()
""",
        """\
                except RecursionError:
                    pass
                self._after_read()
""",
        _IO_TESTS,
    ),
    Rule(
        "Each byte counts as it comes.",
        _BATCHED,
        "            connection.bytes_received = before + len(data)\n",
        "            pass\n",
        _IO_TESTS,
    ),
    Rule(
        "Each byte counts once.",
        _BATCHED,
        "connection.bytes_received = before + len(data)",
        "connection.bytes_received += len(data)",
        _IO_TESTS,
    ),
    Rule(
        "An abort drops what was not sent, with TLS too.",
        _STREAM,
        "        self.forget()\n        self._inner.abort()\n",
        "        self._inner.abort()\n",
        _STREAM_TESTS,
    ),
    Rule(
        "What the socket does not take is sent later, from where it stopped.",
        _STREAM,
        "self._unsent.appendleft(data[sent:])",
        "self._unsent.appendleft(data)",
        _IO_TESTS,
    ),
    Rule(
        "A body fits its frames.",
        _CHANNEL,
        "frame_max - FRAME_OVERHEAD",
        "frame_max - FRAME_OVERHEAD + 1",
        _CHANNEL_TESTS,
    ),
    Rule(
        "A reply that is longer than a frame is split, and an empty one has no frame.",
        _CHANNEL,
        "if not 0 < len(body) <= self._body_max:",
        "if len(body) > 10 * self._body_max:",
        _CHANNEL_TESTS,
    ),
    Rule(
        "Whether a message may be lost is said of each.",
        _CHANNEL,
        "known = self._methods[mandatory]",
        "known = self._methods[0]",
        _CHANNEL_TESTS,
    ),
    Rule(
        "Keys are kept up to a number.",
        _CHANNEL,
        "            if len(known) < _MAX_KNOWN_KEYS:\n                known",
        "            if True:\n                known",
        _CHANNEL_TESTS,
    ),
    Rule(
        "A channel that ends is left to pika.",
        _CHANNEL,
        "        self._reader.forget(self._number)\n",
        "        return\n",
        _CHANNEL_TESTS,
    ),
    Rule(
        "A consumer that pika refuses changes nothing.",
        _CHANNEL,
        "        self.pika_channel.basic_consume(\n",
        "        self._take(consumer_tag, on_delivery, tell_exchange=tell_exchange)\n"
        "        self.pika_channel.basic_consume(\n",
        _CHANNEL_TESTS,
    ),
    Rule(
        "A consumer has a tag.",
        _CHANNEL,
        "        if not consumer_tag:\n",
        "        if False:\n",
        _CHANNEL_TESTS,
    ),
)
