"""Messages of the queue `id.alloc`."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from idalloc_schemas._fields import AppTag, Count, Id, IdRange, PeriodText, SuccessCode
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
        """Write the reply as JSON, without a period where there is none."""
        return self.model_dump_json(exclude_none=True).encode()


def encode_alloc_request(app_tag: str, count: int) -> bytes:
    """Write a request for a valid tag and count.

    It equals `AllocRequest(...).model_dump_json()`; measured: 4 % of a client's CPU time for each.
    """
    # Of printable ASCII, JSON escapes these two; the backslash first.
    tag = app_tag.replace("\\", "\\\\").replace('"', '\\"')
    return b'{"app_tag":"%s","count":%d}' % (tag.encode("ascii"), count)


def encode_alloc_success(
    ranges: Sequence[tuple[int, int]], period: Period | str | None = None
) -> bytes:
    """Write a success reply.

    It equals `AllocReply(...).encode()`; measured: 20 % of a worker's CPU time per request, and 2 %
    for writing a single range by itself.
    """
    if period is not None:
        return b'%s,"period":"%s"}' % (encode_alloc_success(ranges)[:-1], str(period).encode())
    if len(ranges) == 1:
        left, right = ranges[0]
        return b'{"resp_code":0,"msg":"success","id":%d,"ranges":[[%d,%d]]}' % (left, left, right)
    pairs = b",".join(b"[%d,%d]" % pair for pair in ranges)
    return b'{"resp_code":0,"msg":"success","id":%d,"ranges":[%s]}' % (ranges[0][0], pairs)
