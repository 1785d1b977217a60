"""What breaks the wire contract is refused in one line that names the field and not the value."""

import json
from collections.abc import Callable

import pytest
from pydantic import BaseModel, ValidationError

from idalloc_schemas import (
    MAX_ID,
    AllocRequest,
    InvalidMessageError,
    explain,
    parse_alloc_reply,
    parse_alloc_request,
    parse_health_reply,
    parse_health_request,
)

Parse = Callable[[bytes], BaseModel]
REQUEST_PARSERS: list[Parse] = [parse_alloc_request, parse_health_request]
PARSERS: list[Parse] = [*REQUEST_PARSERS, parse_alloc_reply, parse_health_reply]


def refusal(parse: Parse, body: bytes) -> str:
    """Say how a body is refused; the test fails if it is not."""
    with pytest.raises(InvalidMessageError) as caught:
        parse(body)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


# Requests

BAD_COUNTS = [
    "0",
    "-1",
    "-0",
    "true",
    "false",
    "null",
    "1.0",
    "1.5",
    "1e3",
    "NaN",
    "Infinity",
    '"7"',
    '"s3cret"',
    "[1]",
    '{"s3cret":1}',
    str(MAX_ID + 1),
    str(2**64),
    "9" * 300,
]


@pytest.mark.parametrize("count", BAD_COUNTS)
def test_a_bad_count_is_refused_by_name(count: str) -> None:
    """A count of a wrong type or outside 1..max is told as such, without repeating it."""
    text = refusal(parse_alloc_request, b'{"app_tag":"order","count":%s}' % count.encode())
    assert text.startswith("count: ")
    assert "s3cret" not in text
    assert "99999" not in text


BAD_TAGS = [
    "",
    "x" * 33,
    "x" * 60_000,
    "s3cret tag",
    " s3cret",
    "s3cret ",
    "s3cret\n",
    "\ns3cret",
    "s3cret\r\n",
    "s3cret\0",
    "\0",
    "s3cret\t",
    "s3cret\x7f",
    "s3cret\x1b[31m",
    "s3crét",
    "тег",
    "😀",
    "s3cret\u00a0",
    "s3cret\u2028",
]


@pytest.mark.parametrize("parse", REQUEST_PARSERS)
@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("app_tag", BAD_TAGS)
def test_a_bad_tag_is_refused_by_name(parse: Parse, escaped: bool, app_tag: str) -> None:  # noqa: FBT001  # drawn
    """A tag outside 1 to 32 printable ASCII characters is told as such, without repeating it."""
    body = json.dumps({"app_tag": app_tag}, ensure_ascii=escaped).encode()
    text = refusal(parse, body)
    assert text.startswith("app_tag: ")
    assert "s3cr" not in text
    assert "xxxx" not in text


@pytest.mark.parametrize("parse", REQUEST_PARSERS)
@pytest.mark.parametrize("value", ["null", "7", "1.5", "true", '["s3cret"]', '{"s3cret":1}'])
def test_a_tag_that_is_no_string_is_refused_by_name(parse: Parse, value: str) -> None:
    """Only a string can be a tag; null does not count as absent."""
    text = refusal(parse, b'{"app_tag":%s}' % value.encode())
    assert text.startswith("app_tag: ")
    assert "s3cret" not in text


def test_a_missing_tag_is_told_in_the_reference_words() -> None:
    """A request for ids without a tag gets "need app_tag param"."""
    assert refusal(parse_alloc_request, b'{"count":3}') == "need app_tag param"


def test_every_bad_field_is_named() -> None:
    """A request with two faults hears of both."""
    text = refusal(parse_alloc_request, b'{"app_tag":"","count":0}')
    assert "app_tag: " in text
    assert "count: " in text


NOT_JSON = [
    b"",
    b" ",
    b"s3cret",
    b"{",
    b'{"app_tag":"s3cret"',
    b'{"app_tag":"s3cret"} s3cret',
    b"{'app_tag':'s3cret'}",
    b'{"app_tag":"s3cret\n"}',
    b"\xff\xfe\xfd",
    b'{"app_tag":"s3cret\xff"}',
    b'\xef\xbb\xbf{"app_tag":"s3cret"}',
    '{"app_tag":"s3cret"}'.encode("utf-16"),
    rb'{"app_tag":"s3cret\ud800"}',
    rb'{"app_tag":"s3cret\udc00\ud800"}',
    b'{"app_tag":"s3cret\xed\xa0\x80"}',
    b"[" * 60_000,
    b'{"app_tag":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"app_tag":"s3cret","x":' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"app_tag":"s3cret","count":' + b"9" * 50_000 + b"}",
]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_json_is_refused(parse: Parse, body: bytes) -> None:
    """Broken, wrongly encoded, too deep or too long JSON is told as such, without repeating it."""
    text = refusal(parse, body)
    assert text.startswith("body is not valid JSON: ")
    assert "s3cret" not in text


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("body", [b"null", b"7", b"true", b'"s3cret"', b'["s3cret"]', b"[]"])
def test_json_that_is_no_object_is_refused(parse: Parse, body: bytes) -> None:
    """A message is a JSON object, nothing else."""
    assert refusal(parse, body) == "body must be a JSON object"


@pytest.mark.parametrize("parse", REQUEST_PARSERS)
@pytest.mark.parametrize("size", [64 * 1024 + 1, 2**20 + 1, 10 * 2**20])
def test_a_huge_request_is_refused_unread(parse: Parse, size: int) -> None:
    """A body beyond 64 KiB is refused whatever is in it, good JSON or not."""
    for start in (b'{"app_tag":"order"}', b"s3cret"):
        assert refusal(parse, start.ljust(size)) == "body is larger than 65536 bytes"


@pytest.mark.parametrize("parse", REQUEST_PARSERS)
def test_a_request_of_64_kib_is_read(parse: Parse) -> None:
    """The limit on a body is not lower than it says."""
    parse(b'{"app_tag":"order"}'.ljust(64 * 1024))


BAD_ALLOC_REPLIES = [
    ('{"resp_code":0,"msg":"success","id":1}', "ranges: "),
    ('{"resp_code":0,"msg":"success","ranges":[[1,2]]}', "id: "),
    ('{"resp_code":0,"msg":"success","id":1,"ranges":[]}', "ranges: "),
    ('{"resp_code":0,"msg":"success","id":0,"ranges":[[0,2]]}', "id: "),
    ('{"resp_code":0,"msg":"success","id":1,"ranges":[[1,"s3cret"]]}', "ranges.0.1: "),
    ('{"resp_code":0,"msg":"success","id":1,"ranges":[[1,2],[3]]}', "ranges.1.1: "),
    ('{"resp_code":0,"msg":"success","id":1,"ranges":[[1,2,3]]}', "ranges.0: "),
    ('{"resp_code":0,"msg":"success","id":1,"ranges":[[1,2.0]]}', "ranges.0.1: "),
    ('{"resp_code":0,"msg":"success","id":1,"ranges":[[true,2]]}', "ranges.0.0: "),
    ('{"resp_code":0,"msg":"success","id":true,"ranges":[[1,2]]}', "id: "),
    (f'{{"resp_code":0,"msg":"success","id":1,"ranges":[[1,{MAX_ID + 1}]]}}', "ranges.0.1: "),
    ('{"resp_code":0,"msg":"success","id":2,"ranges":[[1,3]]}', "id must be the first id"),
    ('{"resp_code":0,"msg":"success","id":1,"ranges":[[1,1]]}', "ranges must not be empty"),
    ('{"resp_code":0,"msg":"success","id":5,"ranges":[[5,4]]}', "ranges must not be empty"),
    ('{"resp_code":0,"msg":"success","id":5,"ranges":[[5,7],[6,8]]}', "ranges must not be empty"),
    ('{"resp_code":0,"msg":"success","id":5,"ranges":[[5,7],[1,3]]}', "ranges must not be empty"),
    ('{"resp_code":0,"msg":7,"id":1,"ranges":[[1,2]]}', "msg: "),
    ('{"msg":"success","id":1,"ranges":[[1,2]]}', "resp_code: "),
    ("{}", "id: "),
    ('{"resp_code":false,"msg":"success","id":1,"ranges":[[1,2]]}', "resp_code: "),
    ('{"resp_code":0.0,"msg":"success","id":1,"ranges":[[1,2]]}', "resp_code: "),
    ('{"resp_code":"0","msg":"success","id":1,"ranges":[[1,2]]}', "resp_code: "),
    ('{"resp_code":1,"msg":"success","id":1,"ranges":[[1,2]]}', "resp_code: "),
    ('{"resp_code":-1}', "msg: "),
    ('{"resp_code":-1,"msg":["s3cret"]}', "msg: "),
    ('{"resp_code":-1.0,"msg":"s3cret"}', "resp_code: "),
    ('{"resp_code":-1,"msg":"s3cret","retry_after_ms":-5}', "retry_after_ms: "),
    ('{"resp_code":-1,"msg":"s3cret","retry_after_ms":5.0}', "retry_after_ms: "),
    ('{"resp_code":-1,"msg":"s3cret","retry_after_ms":"s3cret"}', "retry_after_ms: "),
]


@pytest.mark.parametrize(("body", "start"), BAD_ALLOC_REPLIES)
def test_a_bad_alloc_reply_is_refused_by_name(body: str, start: str) -> None:
    """A client never takes ids from a reply that breaks the contract, and says what is wrong."""
    text = refusal(parse_alloc_reply, body.encode())
    assert start in text.split("; ")[0]
    assert "Reply" not in text, "names a class of ours, not a field"
    assert "s3cret" not in text


BAD_PERIODS = ["", "2026-13", "2026-02-30", "0000", "2026-W01-1", "20261126", " 2026", 2026, {}]


@pytest.mark.parametrize("period", BAD_PERIODS)
def test_a_period_that_does_not_exist_is_refused(period: object) -> None:
    """A reply's period is a day, month or year of the calendar, written in the one way."""
    reply = {"resp_code": 0, "msg": "success", "id": 1, "ranges": [[1, 2]], "period": period}
    text = refusal(parse_alloc_reply, json.dumps(reply).encode())
    assert "2026" not in text.removesuffix("such as 2026-11-26, 2026-11 or 2026")


BAD_HEALTH_REPLIES = [
    ('{"resp_code":0,"msg":"success"}', "left: "),
    ('{"left":3}', "resp_code: "),
    ('{"resp_code":false,"left":3}', "resp_code: "),
    ('{"resp_code":0,"left":-3}', "left: "),
    ('{"resp_code":0,"left":3.0}', "left: "),
    ('{"resp_code":0,"left":"s3cret"}', "left: "),
    ('{"resp_code":0,"left":3,"worker":7}', "worker: "),
    ('{"resp_code":0,"left":3,"tags":{}}', "tags: "),
    ('{"resp_code":0,"left":3,"tags":[{"app_tag":"a b","state":"cold"}]}', "tags.0.app_tag: "),
    ('{"resp_code":0,"left":3,"tags":[{"app_tag":"a","state":7}]}', "tags.0.state: "),
    ('{"resp_code":0,"left":3,"tags":[{"app_tag":"a"}]}', "tags.0.state: "),
    ('{"resp_code":0,"left":3,"tags_total":"4"}', "tags_total: "),
    ('{"resp_code":0,"left":3,"counters":{"granted":"4"}}', "counters.granted: "),
    ('{"resp_code":0,"left":3,"counters":{"granted":true}}', "counters.granted: "),
]


@pytest.mark.parametrize(("body", "start"), BAD_HEALTH_REPLIES)
def test_a_bad_health_reply_is_refused_by_name(body: str, start: str) -> None:
    """A health reply that breaks the contract is told with the field that does."""
    text = refusal(parse_health_reply, body.encode())
    assert text.startswith(start)
    assert "Reply" not in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "field", ["left", "step", "waiters", "ids_reserved", "ids_handed_out", "ids_lost"]
)
@pytest.mark.parametrize("value", ["-1", "1.0", "true", '"s3cret"', "null"])
def test_a_bad_tally_of_a_tag_is_refused_by_name(field: str, value: str) -> None:
    """Each number in a tag's state is an integer from 0 on."""
    tag = f'{{"app_tag":"a","state":"cold","{field}":{value}}}'
    text = refusal(parse_health_reply, f'{{"resp_code":0,"left":3,"tags":[{tag}]}}'.encode())
    assert text.startswith(f"tags.0.{field}: ")
    assert "s3cret" not in text


def test_a_made_up_key_is_not_repeated() -> None:
    """A counter's name that is no name is left out of the explanation."""
    text = refusal(parse_health_reply, rb'{"resp_code":0,"left":3,"counters":{"s3cret\nx":-1}}')
    assert text.startswith("counters: ")
    assert "s3cret" not in text


def test_an_explanation_stays_short() -> None:
    """However many items of a list are bad, a few are told and the rest counted."""
    body = b'{"resp_code":0,"msg":"success","id":1,"ranges":[%s]}' % b",".join([b"7"] * 10_000)
    text = refusal(parse_alloc_reply, body)
    assert len(text) < 500
    assert "more" in text


def test_what_the_client_refuses_itself_is_told_in_the_same_words() -> None:
    """`explain` gives for a bad argument what a worker would reply, without the value."""
    with pytest.raises(ValidationError) as caught:
        AllocRequest(app_tag="s3cret tag", count=0)
    text = explain(caught.value)
    assert text.startswith("app_tag: only printable ASCII characters without spaces are allowed; ")
    assert "count: " in text
    assert "s3cret" not in text
    assert "s3cret" not in str(caught.value)
