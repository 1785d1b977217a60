"""The contract that machines read is that of the schemas, and its own tools accept it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from pydantic import BaseModel

from idalloc_schemas import (
    ErrorReply,
    InvalidMessageError,
    RespCode,
    parse_alloc_reply,
    parse_alloc_request,
    parse_health_request,
)
from tests.contract import FOLDER
from tests.contract._answers import Vector, body_of, vectors
from tests.contract._documents import documents
from tests.contract._schemas import MODELS, standalone
from tests.node import needs_node, prepare, run_node

SCHEMAS = {model.__name__: Draft7Validator(standalone(model)) for model in MODELS}
REQUESTS = vectors("requests")
REPLIES = vectors("replies")


@pytest.mark.parametrize("name", documents())
def test_documents_are_those_of_the_schemas(name: str) -> None:
    """`make contract` would change nothing."""
    assert (FOLDER / name).read_text() == documents()[name], "run `make contract`"


def test_no_document_is_left_over() -> None:
    """What is no longer generated is gone."""
    here = {str(p.relative_to(FOLDER)) for p in (FOLDER / "schemas").iterdir()}
    assert here | {"asyncapi.yaml"} == set(documents())


@needs_node
@pytest.mark.long
def test_the_parser_of_asyncapi_takes_the_document(tmp_path: Path) -> None:
    """AsyncAPI's own parser finds neither errors nor warnings."""
    prepare(tmp_path)
    (tmp_path / "check.mjs").write_text(CHECK)
    done = run_node(tmp_path, "check.mjs", FOLDER / "asyncapi.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


CHECK = """
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const found = diagnostics.filter(({ severity }) => severity < 2); // errors and warnings
for (const { path, message } of found) console.log(path.join("."), message);
process.exitCode = document && !found.length ? 0 : 1;
"""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_schemas_are_schemas(model: type[BaseModel]) -> None:
    """Each follows the rules of the draft that it names."""
    Draft7Validator.check_schema(standalone(model))


def accepts(parse: Callable[[bytes], object], body: bytes) -> bool:
    try:
        parse(body)
    except InvalidMessageError:
        return False
    return True


def schema_accepts(names: tuple[str, ...], body: bytes) -> bool:
    try:
        value = strict_json(body)
    except ValueError:
        return False
    return any(SCHEMAS[name].is_valid(value) for name in names)


def strict_json(body: bytes) -> Any:
    return json.loads(body.decode())


def by_name(vector: Vector) -> str:
    return str(vector.get("name") or vector.get("tag"))


# What only the worker knows: its limits, its table, and who asks.
@pytest.mark.parametrize("vector", REQUESTS, ids=by_name)
def test_models_and_schemas_take_the_same_requests(vector: Vector) -> None:
    """A schema takes a request if the worker's parser does, or the vector says why it differs."""
    health = vector.get("queue") == "id.health"
    parse = parse_health_request if health else parse_alloc_request
    body = body_of(vector)
    taken = accepts(parse, body)
    if vector["expect"] is not None and vector["expect"]["resp_code"] != -2:
        assert taken
    by_schema = schema_accepts(("HealthRequest" if health else "AllocRequest",), body)
    assert by_schema == (taken or "schema_takes_it" in vector)


@pytest.mark.parametrize("vector", REPLIES, ids=by_name)
def test_models_and_schemas_take_the_same_replies(vector: Vector) -> None:
    """Every answer that a caller must read is one by both; those that it may not are by neither."""
    differs = "schema_takes_it" in vector
    for answer in vector["answers"]:
        body = answer["body"].encode()
        readable = "unreadable" not in vector["expect"]
        assert schema_accepts(("AllocReply", "ErrorReply"), body) == (readable or differs)
        assert accepts(parse_alloc_reply, body) == (readable or vector["count"] > 1)


def test_vectors_have_every_code() -> None:
    """A caller that passes them has met each code that there is, and one that there is not."""
    told = set()
    for vector in REPLIES:
        for answer in vector["answers"]:
            if accepts(parse_alloc_reply, answer["body"].encode()):
                reply = parse_alloc_reply(answer["body"].encode())
                told.add(reply.resp_code)
                assert reply.resp_code == 0 or isinstance(reply, ErrorReply)
    assert told == {*RespCode, -99}
