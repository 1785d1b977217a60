"""Messages of the queue `id.health`."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from idalloc_schemas._fields import AppTag, IdRange, Measure, Natural, SuccessCode


class TagState(StrEnum):
    """How one worker stands with a tag."""

    COLD = "cold"
    """Nobody has asked this worker for the tag yet. That is healthy."""
    READY = "ready"
    """There are ids in memory."""
    REFILLING = "refilling"
    """Memory is empty and a refill is under way."""
    FAILING = "failing"
    """The last refill failed; ids that are still in memory are handed out."""
    STANDBY = "standby"
    """The tag is ordered, and this worker passes requests for it on: another one may own it."""
    REFUSED = "refused"
    """The database said that there is nothing to hand out: no row, a bad row, or no space left."""


_WRONG: Final = object()
"""Stands in for a null: a value of no field's type."""

_NO_ANSWER_YET = (TagState.COLD, TagState.REFILLING, TagState.STANDBY)


class HealthRequest(BaseModel):
    """Asks a worker for the state of one tag, or of every tag that it holds."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    app_tag: AppTag | None = None
    fleet: StrictBool | None = None
    """Whether every worker is to answer for itself, in a reply of its own."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_absent(cls, data: object) -> object:
        # A null is a wrong type, here as in `id.alloc`.
        if isinstance(data, dict):
            return {name: _WRONG if value is None else value for name, value in data.items()}
        return data

    def encode(self) -> bytes:
        """Write the request as JSON, without fields that are not set."""
        return self.model_dump_json(exclude_none=True).encode()


class TagHealth(BaseModel):
    """One tag on one worker. The counters start with the worker process."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    app_tag: AppTag
    state: Annotated[TagState | str, Field(union_mode="left_to_right")]
    """A `TagState`, or the word of a newer worker for a state that this version does not know."""
    left: Natural = 0
    segments: list[IdRange] = []
    """What is left in memory, as half-open ranges."""
    step: Natural = 0
    """The row's step at the last refill, 0 before it."""
    waiters: Natural = 0
    ids_reserved: Natural = 0
    ids_handed_out: Natural = 0
    ids_lost: Natural = 0
    """Reserved or possibly reserved, and never to be handed out."""
    ids_given_back: Natural = 0
    """Returned to the row by a worker that stops."""
    refills: Natural = 0
    """Segments that came."""
    rate: Measure = 0.0
    """Ids asked for per second, on average since the last refill began; 0 while unused."""
    cover: Measure | None = None
    """Seconds that `left` lasts at this rate; None while unused."""
    last_error: str | None = None
    partition: Annotated[StrictInt, Field(ge=0)] | None = None
    """Of an ordered tag: the partition that it belongs to, whose owner answers for it."""

    @property
    def healthy(self) -> bool:
        """Whether the next request can expect an id."""
        return self.left > 0 or self.state in _NO_ANSWER_YET


class HealthReply(BaseModel):
    """The state of one worker; `left` is the sum over the tags that were asked for."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    resp_code: SuccessCode = 0
    msg: str = "success"
    left: Natural
    worker: str = ""
    tags: list[TagHealth] = []
    """Those that the caller may use, by name: at most a hundred, for operators a thousand."""
    tags_total: Natural = 0
    """How many there are that could be listed."""
    protected: bool | None = None
    """Whether it and the other workers can tell each other what they reserve."""
    marks: str | None = None
    """Who remembers what was reserved: "broker", if the stream of marks was read and is written,
    "workers", if only those that run; None before that is known."""
    database: bool | None = None
    """Whether the database could be used when it was last needed; None if it was not yet."""
    counters: dict[str, Natural] = {}
    """What the worker process counted since its start."""
    age_ms: Natural | None = None
    """How old the answer is, if it was made for somebody who asked before."""

    def encode(self) -> bytes:
        """Write the reply as JSON, without fields that are not set."""
        return self.model_dump_json(exclude_none=True).encode()
