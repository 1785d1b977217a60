"""Messages of the queue `id.alloc`."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from idalloc_schemas._fields import AppTag, Count, Id, IdRange, PeriodText, QueueName, SuccessCode
from idalloc_schemas._period import Period


class AllocRequest(BaseModel):
    """Asks for `count` ids of one tag. Unknown fields are ignored: the caller may be newer."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    app_tag: AppTag
    count: Count = 1


class AllocReply(BaseModel):
    """Carries the ids: `ranges` in increasing order, `id` the first of them."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    resp_code: SuccessCode = 0
    msg: str = "success"
    id: Id
    ranges: Annotated[list[IdRange], Field(min_length=1)]
    period: PeriodText | None = None
    """The day, month or year in which all of the ids are unique, for a tag that has such."""
    queue: QueueName | None = None
    """Where the owner of an ordered tag takes requests for it: one there saves the way to it."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        floor = self.id
        if self.ranges[0][0] != floor:
            raise ValueError("id must be the first id of ranges")
        for left, right in self.ranges:
            if left < floor or right <= left:
                raise ValueError("ranges must not be empty and must rise")
            floor = right
        if self.period is not None:
            Period.parse(self.period)
        return self

    @property
    def count(self) -> int:
        """How many ids the reply carries."""
        return sum([right - left for left, right in self.ranges])

    def encode(self) -> bytes:
        """Write the reply as JSON, without what there is none of."""
        return self.model_dump_json(exclude_none=True).encode()
