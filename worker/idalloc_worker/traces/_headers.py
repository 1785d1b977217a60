"""Finds the trace context among a message's headers, whatever else a sender writes there.

The table is not decoded: `traceparent` is looked for as it is written by all who follow W3C's
Trace Context for AMQP, a short string as the name and a long string as the value. Whoever hides it
elsewhere, or writes something else, has a request without a trace, and nobody else is concerned.
`tracestate` and `baggage` are for those who pass them on, and a worker asks nobody.
"""

import re
from typing import Final

_NAME: Final = b"\x0btraceparentS\x00\x00\x00\x37"
_LENGTH: Final = 0x37

_TRACEPARENT: Final = re.compile(
    # The lowest bit of the flags says that the caller is recorded.
    rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf]"
)


def traceparent_in(table: bytes) -> bytes | None:
    """Return the context of a caller whose trace is recorded; None if there is none."""
    start = table.find(_NAME) + len(_NAME)
    return traceparent_of(table[start : start + _LENGTH]) if start >= len(_NAME) else None


def traceparent_of(value: bytes) -> bytes | None:
    """Return what another worker passed on, if it is the context of a caller that is recorded."""
    return value if _TRACEPARENT.fullmatch(value) else None
