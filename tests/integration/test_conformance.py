"""Workers and the Python client pass the vectors of `docs/contract/vectors`."""

import json
from collections.abc import Callable
from typing import Any

from jsonschema import Draft7Validator

from devstack.workers import Fleet, Worker
from idalloc_client import IdAllocError, IdClient, PeriodError, RefusedError
from idalloc_schemas import AllocReply, ErrorReply, HealthReply
from tests.contract._answers import Answers, Vector, body_of, rows, vectors
from tests.contract._schemas import standalone
from tests.foreign import ForeignClient

Reply = dict[str, Any]

KINDS = {
    model: Draft7Validator(standalone(model)) for model in (AllocReply, HealthReply, ErrorReply)
}


def test_a_worker_answers_as_the_vectors_say(prepared: Fleet, user: str) -> None:
    """Each of them in turn; and what is not answered, or refused, uses up no id."""
    converse(prepared.amqp_url, user)


def test_a_worker_without_mysql_answers_as_well(
    dev: Callable[..., Worker], vhost: str, user: str
) -> None:
    """`idalloc dev` is held to the same vectors."""
    dev(*(word for row in rows() for word in ("--tag", described(row, user))))
    converse(vhost, user)


def described(row: Vector, user: str) -> str:
    """Write a row as `--tag` takes it."""
    columns = {name: user if value == "$user" else value for name, value in row.items()}
    tag = columns.pop("app_tag")
    return f"{tag}:{','.join(f'{name}={value}' for name, value in columns.items())}"


def converse(amqp_url: str, user: str) -> None:
    with ForeignClient(amqp_url) as caller:
        for vector in vectors("requests"):
            ask(caller, vector, user)
        health = ask(caller, ALL_TAGS, user)
    told = [(vector["expect"] or {}).get("ids", 0) for vector in vectors("requests")]
    assert sum(tag["ids_handed_out"] for tag in health["tags"]) == sum(told)


ALL_TAGS = {
    "name": "all tags",
    "queue": "id.health",
    "body": "{}",
    "properties": {"user_id": "$user"},  # who may see them
}


def ask(caller: ForeignClient, vector: Vector, user: str) -> Reply:
    """Send a request, and hold what comes back against what is expected."""
    given = vector.get("properties", {})
    properties = {"correlation_id": vector["name"]} | {
        name: user if value == "$user" else value for name, value in given.items()
    }
    queue = vector.get("queue", "id.alloc")
    if vector.get("expect", {}) is None:
        caller.publish(queue, body_of(vector), **properties)
        return {}
    answer = caller.call(queue, body_of(vector), **properties)
    assert answer is not None, vector["name"]
    reply: Reply = json.loads(answer[0])
    check(reply, queue, vector)
    assert answer[1].correlation_id == properties["correlation_id"]
    return reply


def check(reply: Reply, queue: str, vector: Vector) -> None:
    expect = vector.get("expect", {})
    told = f"{vector['name']}: {reply}"
    kind = HealthReply if queue == "id.health" else AllocReply
    assert KINDS[kind if reply["resp_code"] == 0 else ErrorReply].is_valid(reply), told
    assert reply["resp_code"] == expect.get("resp_code", 0), told
    assert reply["msg"] == expect.get("msg", reply["msg"]), told
    assert expect.get("about", "") in reply["msg"], told
    assert ("id" in reply) == ("ids" in expect), told
    if "ids" in expect:
        assert ids_in(reply) == expect["ids"], told
    states = {tag["app_tag"]: tag["state"] for tag in reply.get("tags", ())}
    assert states.items() >= expect.get("states", {}).items(), told


def ids_in(reply: Reply) -> int:
    """Count the ids; their ranges rise, and `id` is the first."""
    ends = [end for pair in reply["ranges"] for end in pair]
    assert ends == sorted(ends)
    assert ends[0] == reply["id"]
    return sum(right - left for left, right in reply["ranges"])


def test_the_client_reads_answers_as_the_vectors_say(vhost: str, answers: Answers) -> None:
    """Each of them: ids, errors, what is asked again, and what is no answer."""
    with IdClient(vhost) as client:
        for vector in vectors("replies"):
            expect = vector["expect"]
            assert outcome(client, vector) in wanted(expect), vector["tag"]
            if "requests" in expect:
                assert answers.requests[vector["tag"]] == expect["requests"], vector["tag"]


def wanted(expect: Reply) -> list[Any]:
    """Give the outcomes that are right."""
    if "ranges" in expect:
        return [[[int(end) for end in pair] for pair in expect["ranges"]]]
    return list(expect.get("codes", ["unreadable"]))


def outcome(client: IdClient, vector: Vector) -> Any:
    """Give the ranges, the code of a refusal, or that no answer could be read."""
    timeout = {"timeout": vector["deadline_ms"] / 1000} if "deadline_ms" in vector else {}
    try:
        batch = client.next_ids(vector["tag"], vector["count"], **timeout)
    except PeriodError as error:
        batch = error.ids
    except RefusedError as error:
        return int(error.code)
    except IdAllocError:
        return "unreadable"
    period = None if batch.period is None else str(batch.period)
    assert period == vector["expect"].get("period"), vector["tag"]
    return [list(pair) for pair in batch.ranges]
