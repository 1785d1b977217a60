"""Messages that workers send each other over the exchange `id.fleet`: who holds which ids.

No caller sends or sees them. Workers of several versions share a fleet during an upgrade: unknown
fields are ignored, and messages of an unknown type too.
"""

from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    TypeAdapter,
    ValidationError,
)

from idalloc_schemas._fields import AppTag
from idalloc_schemas._parse import explain
from idalloc_schemas._usual import MAX_ID, InvalidMessageError

FLEET_VERSION: Final = 1

Edge = Annotated[StrictInt, Field(ge=0, le=MAX_ID)]
"""An end of a segment as the row has it: the first one begins at 0, though 0 is never an id."""

Instant = Annotated[StrictInt, Field(ge=0, le=MAX_ID)]
"""Seconds since 1970, by the sender's clock."""

WorkerKey = Annotated[str, Field(strict=True, max_length=64)]
"""Names one life of one worker process; nobody has the same key again."""

Address = Annotated[str, Field(strict=True, min_length=1, max_length=255)]
"""A queue's name."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    v: Annotated[StrictInt, Field(ge=1)] = FLEET_VERSION
    """The version of the sender; a higher one only adds fields and types."""

    def encode(self) -> bytes:
        """Write the message as JSON, without fields that are not set."""
        return self.model_dump_json(exclude_none=True).encode()


class Reserved(_Message):
    """`worker` has reserved `[left, right)`, and claims it before it uses any of it."""

    type: Literal["reserved"] = "reserved"
    worker: WorkerKey
    app_tag: AppTag
    left: Edge
    right: Edge
    at: Instant | None = None
    """When it was sent."""
    kept: StrictBool | None = None
    """Whether it is a range that `worker` surrendered and could not give back."""


class Surrendered(_Message):
    """`worker` is stopping and will never hand out `[left, right)`, the end of what it reserved.

    It may be about to lower the row from `right` to `left`. `rest` is where the ids end that it had
    before, which it still has or has handed out; without it (from an older worker), `left`.
    """

    type: Literal["surrendered"] = "surrendered"
    worker: WorkerKey
    app_tag: AppTag
    left: Edge
    right: Edge
    rest: Edge | None = None


class Hello(_Message):
    """`worker` has joined, or lost its connection meanwhile: it asks for the marks of the others.

    Each other one sends them to the queue `reply_to`.
    """

    type: Literal["hello"] = "hello"
    worker: WorkerKey
    reply_to: Address


Entry = tuple[AppTag, WorkerKey, Edge]
"""The highest end of a worker's segments of a tag; with an empty key, of workers long gone."""


class Marks(_Message):
    """What `worker` knows of all; `more` says that another part follows.

    Told to all, the parts count from 0: who finds them all in the stream knows what `worker` knew.
    """

    type: Literal["marks"] = "marks"
    worker: WorkerKey
    entries: list[Entry]
    more: StrictBool = False
    part: Annotated[StrictInt, Field(ge=0)] | None = None


class Alive(_Message):
    """A worker that knows all marks was running at this time; now and then some worker says so."""

    type: Literal["alive"] = "alive"
    worker: WorkerKey
    at: Instant


class Echo(_Message):
    """Comes back to its sender: by then all that was in its queue before has been handled."""

    type: Literal["echo"] = "echo"
    worker: WorkerKey
    number: StrictInt


class HealthCall(_Message):
    """A caller asked the whole fleet: each worker answers `reply_to` for itself.

    It goes through the exchange `id.fleet.health`; workers of earlier versions use `id.fleet`.
    """

    type: Literal["health"] = "health"
    worker: WorkerKey
    reply_to: Address
    correlation_id: Annotated[str, Field(strict=True, max_length=255)] | None = None
    app_tag: AppTag | None = None
    user: Annotated[str, Field(strict=True, max_length=255)] | None = None
    """The caller, as the broker vouched for it to `worker`."""


FleetMessage = Reserved | Surrendered | Hello | Marks | Alive | Echo | HealthCall

_message: TypeAdapter[FleetMessage] = TypeAdapter(
    Annotated[FleetMessage, Field(discriminator="type")]
)
_UNKNOWN_TYPE: Final = "union_tag_invalid"


def parse_fleet_message(body: bytes) -> FleetMessage | None:
    """Read a message; None for a type of a later version. Raises `InvalidMessageError`."""
    try:
        return _message.validate_json(body)
    except ValidationError as error:
        if any(detail["type"] == _UNKNOWN_TYPE for detail in error.errors()):
            return None
        raise InvalidMessageError(explain(error)) from None
