"""Field types that several messages share."""

from typing import Annotated, Final

from pydantic import Field, StrictFloat, StrictInt, StringConstraints

from idalloc_schemas._usual import MAX_APP_TAG_LENGTH, MAX_ID

AppTag = Annotated[
    str,
    StringConstraints(
        strict=True, min_length=1, max_length=MAX_APP_TAG_LENGTH, pattern=r"^[\x21-\x7e]*$"
    ),
]
"""A tag's name: 1 to 32 characters of printable ASCII without spaces, compared byte for byte."""

_INT64: Final = {"format": "int64"}  # for those who make types of JSON Schemas
Id = Annotated[StrictInt, Field(ge=1, le=MAX_ID, json_schema_extra=_INT64)]
Count = Annotated[StrictInt, Field(ge=1, le=MAX_ID, json_schema_extra=_INT64)]

PeriodText = Annotated[
    str,
    StringConstraints(
        strict=True,
        pattern=r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$",
    ),
]
"""A period as it is written: `2026-11-26`, `2026-11` or `2026`."""

QueueName = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255)]

Natural = Annotated[StrictInt, Field(ge=0, json_schema_extra=_INT64)]
"""How many there are of something."""

Measure = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
"""How much there is of something; JSON has no infinity."""

SuccessCode = Annotated[StrictInt, Field(ge=0, le=0)]
"""Exactly the integer 0: a `Literal` would take false and 0.0 for it."""

IdRange = tuple[Id, Id]
"""A half-open range of ids: `[left, right)`."""
