"""The reply that carries no id."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from idalloc_schemas._codes import RespCode


class ErrorReply(BaseModel):
    """Says why there is no answer. `retry_after_ms` is present where a retry can help."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    resp_code: Annotated[StrictInt, Field(lt=0)]
    msg: str
    retry_after_ms: Annotated[StrictInt, Field(ge=0)] | None = None

    @property
    def code(self) -> RespCode:
        """The code as an enum; one that this version does not know counts as INTERNAL."""
        try:
            return RespCode(self.resp_code)
        except ValueError:
            return RespCode.INTERNAL

    def encode(self) -> bytes:
        """Write the reply as JSON, without fields that are not set."""
        return self.model_dump_json(exclude_none=True).encode()
