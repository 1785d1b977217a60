"""Turns the models of `idalloc_schemas` into JSON Schemas that say what travels, and no more."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core.core_schema import NullableSchema, TupleSchema, WithDefaultSchema

from idalloc_schemas import (
    AllocReply,
    AllocRequest,
    ErrorReply,
    HealthReply,
    HealthRequest,
    RespCode,
    TagHealth,
    TagState,
)

MODELS: Final[tuple[type[BaseModel], ...]] = (
    AllocRequest,
    HealthRequest,
    AllocReply,
    HealthReply,
    ErrorReply,
)
DIALECT: Final = "http://json-schema.org/draft-07/schema#"  # AsyncAPI's own

_Json = dict[str, Any]


class _Wire(GenerateJsonSchema):
    """A field that is not set is left out, never null; a range is two ids."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # it only repeats the name

    def nullable_schema(self, schema: NullableSchema) -> _Json:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> _Json:
        found = super().default_schema(schema)
        if found.get("default", ...) is None:
            del found["default"]
        return found

    def tuple_schema(self, schema: TupleSchema) -> _Json:
        found = super().tuple_schema(schema)
        found["items"] = found.pop("prefixItems")[0]  # draft 7 has no prefixItems
        return found


def schemas(reference: str) -> dict[str, _Json]:
    """Give each message's schema by its name, with others referred to as in `reference`."""
    _, found = models_json_schema(
        [(model, "validation") for model in MODELS],
        ref_template=reference,
        schema_generator=_Wire,
    )
    schemas: dict[str, _Json] = found["$defs"]
    described: list[type[BaseModel]] = [*MODELS, TagHealth]
    for model in described:
        _describe(schemas[model.__name__], model)
    schemas["TagState"]["description"] += "\n\n" + "\n".join(_list(TagState))
    schemas["ErrorReply"]["properties"]["resp_code"]["description"] = "\n".join(
        (*_list(RespCode), "New codes may come: treat one that you do not know as INTERNAL.")
    )
    for reply in ("AllocReply", "HealthReply"):  # the default is for those who write replies
        schemas[reply]["required"] = ["resp_code", "msg", *schemas[reply]["required"]]
    return schemas


def standalone(model: type[BaseModel]) -> _Json:
    """Give a message's schema as a document of its own, with what it refers to inside."""
    found = schemas("#/definitions/{model}")
    own = found[model.__name__]
    inner = {name: found[name] for name in ("TagHealth", "TagState") if model is HealthReply}
    return {"$schema": DIALECT, **own} | ({"definitions": inner} if inner else {})


def _describe(schema: _Json, model: type[BaseModel]) -> None:
    """Add what the source says below each field."""
    for name, said in _said_of(model):
        if name in schema["properties"]:
            schema["properties"][name]["description"] = said


def _list(enum: type[Enum]) -> Iterator[str]:
    said = dict(_said_of(enum))
    for member in enum:
        name = f" {member.name}" if issubclass(enum, int) else ""
        if member.name in said:
            yield f"- `{member.value}`{name}: {said[member.name]}"


def _said_of(cls: type) -> Iterator[tuple[str, str]]:
    """Give each name that a class assigns with the docstring that follows it."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign):
            target: ast.expr = statement.target
        elif isinstance(statement, ast.Assign):
            target = statement.targets[0]
        else:
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield ast.unparse(target), inspect.cleandoc(str(after.value.value))
