"""How requests travel from the worker that got them to the owner of their tag: pure encoding.

Those that a worker read at the same time go in one message, so that the additional hop costs
little. What a worker of another version adds to a request's list is ignored.
"""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, inf, log
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idalloc_schemas import AllocRequest, InvalidMessageError, explain
from idalloc_worker.tags import partition_of
from idalloc_worker.traces import traceparent_of

MAX_REQUESTS: Final = 64
"""In one message: more than any version has put there is from no worker."""

MAX_BYTES: Final = 512 * 1024
"""Of a message: so many requests with the longest properties that there can be take 300 kB."""

BUNDLE_TYPE: Final = "id.ordered.bundle"

_ALIKE: Final = log(1.1)
"""Requests whose remaining times differ by less than a tenth share a message, and the shortest."""

ShortString = bytes | None
"""A short string of AMQP, which need not be text; None where there is none."""

_LONGEST: Final = 255  # bytes


@dataclass(frozen=True, slots=True)
class OrderedRequest:
    """A request for an ordered tag, with all that its owner needs to answer it."""

    wanted: AllocRequest
    reply_to: ShortString
    correlation_id: ShortString
    user: ShortString
    """The sender as the broker vouched for it to the worker that passed the request on."""
    traceparent: bytes | None = None
    """The caller's trace context, if the request is to be shown."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What goes into one message: some of the given requests, by their numbers."""

    partition: int
    milliseconds: int | None
    """The message's `expiration`; None: without end."""
    numbers: tuple[int, ...]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    requests: Annotated[list[list[Any]], Field(min_length=1, max_length=MAX_REQUESTS)]


def bundled(wanted: Iterable[tuple[str, float]]) -> list[Bundle]:
    """Put requests together, each given as tag and remaining seconds (more than 0, or `inf`)."""
    groups: dict[tuple[int, int | None], list[tuple[int, float]]] = defaultdict(list)
    for number, (app_tag, seconds) in enumerate(wanted):
        lifetime = None if seconds == inf else floor(log(seconds) / _ALIKE)
        groups[partition_of(app_tag), lifetime].append((number, seconds))
    return [
        _bundle(partition, group[start : start + MAX_REQUESTS])
        for (partition, _), group in groups.items()
        for start in range(0, len(group), MAX_REQUESTS)
    ]


def _bundle(partition: int, group: Sequence[tuple[int, float]]) -> Bundle:
    shortest = min(seconds for _, seconds in group)
    milliseconds = None if shortest == inf else int(shortest * 1000)
    return Bundle(partition, milliseconds, tuple(number for number, _ in group))


def encode_bundle(requests: Sequence[OrderedRequest]) -> bytes:
    """Write the body of a message."""
    rows = [
        [
            *(request.wanted.app_tag, request.wanted.count),
            *map(_as_text, (request.reply_to, request.correlation_id, request.user)),
            # Left out where there is none, as workers of before do.
            *([] if request.traceparent is None else [_as_text(request.traceparent)]),
        ]
        for request in requests
    ]
    return json.dumps({"requests": rows}, separators=(",", ":")).encode()


def decode_bundle(body: bytes, partition: int) -> list[OrderedRequest]:
    """Read the body of a message of one partition.

    Raises `InvalidMessageError` if anything in it is wrong, also a tag of another partition: two
    owners would give out its ids.
    """
    if len(body) > MAX_BYTES:
        raise InvalidMessageError(f"it is larger than {MAX_BYTES} bytes")
    try:
        rows = _Body.model_validate_json(body).requests
        return [_request(row, partition) for row in rows]
    except ValidationError as error:
        raise InvalidMessageError(explain(error)) from None


def _request(row: Sequence[Any], partition: int) -> OrderedRequest:
    if len(row) < 5:
        raise InvalidMessageError("a request has too few fields")
    app_tag, count, *properties = row[:5]
    wanted = AllocRequest(app_tag=app_tag, count=count)
    if partition_of(app_tag) != partition:
        raise InvalidMessageError("a request is for a tag of another partition")
    reply_to, correlation_id, user = map(_short_string, properties)
    return OrderedRequest(wanted, reply_to, correlation_id, user, _traceparent(row[5:6]))


def _as_text(value: ShortString) -> str | None:
    """Show each byte as the character of the same number: JSON has no bytes."""
    return None if value is None else value.decode("latin-1")


def _traceparent(fields: Sequence[object]) -> bytes | None:
    """Read the context that a worker passed on; what else stands there is a newer one's."""
    texts = (field for field in fields if isinstance(field, str))
    return next((traceparent_of(text.encode(errors="replace")) for text in texts), None)


def _short_string(value: object) -> ShortString:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= _LONGEST:
        with contextlib.suppress(UnicodeEncodeError):
            return value.encode("latin-1")
    raise InvalidMessageError("a property is no short string of AMQP")
