"""The wire contract: what is written can be read, also by older and newer peers."""

import json
from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from idalloc_schemas import (
    MAX_APP_TAG_LENGTH,
    MAX_ID,
    AllocReply,
    AllocRequest,
    ErrorReply,
    HealthReply,
    HealthRequest,
    InvalidMessageError,
    Period,
    PeriodKind,
    RespCode,
    TagHealth,
    TagState,
    encode_alloc_success,
    is_app_tag,
    parse_alloc_reply,
    parse_alloc_request,
    parse_health_reply,
    parse_health_request,
    read_alloc_success,
)

Parse = Callable[[bytes], BaseModel]
PARSERS: list[Parse] = [
    parse_alloc_request,
    parse_alloc_reply,
    parse_health_request,
    parse_health_reply,
]
REPLY_PARSERS: list[Parse] = [parse_alloc_reply, parse_health_reply]

PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

app_tags = st.text(PRINTABLE, min_size=1, max_size=MAX_APP_TAG_LENGTH)
naturals = st.integers(0, 2**70)
texts = st.text(st.characters(exclude_categories=["Cs"]))


def rising(bounds: list[int]) -> list[tuple[int, int]]:
    """Make ranges of distances: from the last end to the next left, and from there to the right."""
    points = list(accumulate(bounds))
    return list(zip(points[::2], points[1::2], strict=True))


FIELDS = [*AllocRequest.model_fields, *AllocReply.model_fields, *ErrorReply.model_fields]
FIELDS += [*HealthRequest.model_fields, *HealthReply.model_fields, *TagHealth.model_fields]

# Ranges that may touch but not overlap; the ends of the id space are among them.
range_lists = st.one_of(
    st.lists(st.tuples(st.integers(0, 2**40), st.integers(1, 2**40)), min_size=1, max_size=8).map(
        lambda pairs: rising([1, *[step for pair in pairs for step in pair]][1:])
    ),
    st.just([(1, MAX_ID)]),
    st.just([(MAX_ID - 1, MAX_ID)]),
).filter(lambda ranges: ranges[0][0] >= 1)

periods = st.builds(
    lambda kind, day: Period(kind.first_of(day), kind), st.sampled_from(PeriodKind), st.dates()
)

tag_healths = st.builds(
    TagHealth,
    app_tag=app_tags,
    state=st.sampled_from(TagState),
    left=naturals,
    segments=st.lists(st.tuples(st.integers(1, MAX_ID), st.integers(1, MAX_ID)), max_size=3),
    step=naturals,
    waiters=naturals,
    ids_reserved=naturals,
    ids_handed_out=naturals,
    ids_lost=naturals,
    last_error=st.none() | texts,
)


# What is written can be read


@given(app_tags, st.integers(1, MAX_ID))
def test_an_alloc_request_survives_the_wire(app_tag: str, count: int) -> None:
    """Any valid tag and count is read as it was written."""
    request = AllocRequest(app_tag=app_tag, count=count)
    assert parse_alloc_request(request.model_dump_json().encode()) == request


@given(st.none() | app_tags)
def test_a_health_request_survives_the_wire(app_tag: str | None) -> None:
    """Asking for one tag or for all of them is read as it was written."""
    request = HealthRequest() if app_tag is None else HealthRequest(app_tag=app_tag)
    assert parse_health_request(request.encode()) == request


queue_names = st.none() | st.integers(0, 7).map("id.ordered.{}".format)


@given(range_lists, st.none() | periods, queue_names)
def test_an_alloc_reply_survives_the_wire(
    ranges: list[tuple[int, int]], period: Period | None, queue: str | None
) -> None:
    """Any valid ranges are read as they were written, and counted, with their period."""
    text = None if period is None else str(period)
    reply = AllocReply(id=ranges[0][0], ranges=ranges, period=text, queue=queue)
    assert parse_alloc_reply(reply.encode()) == reply
    assert reply.count == sum(right - left for left, right in ranges)


@given(range_lists, st.none() | periods, queue_names)
def test_the_fast_encoder_writes_what_the_model_writes(
    ranges: list[tuple[int, int]], period: Period | None, queue: str | None
) -> None:
    """The worker's short cut gives byte for byte the JSON of the model."""
    text = None if period is None else str(period)
    reply = AllocReply(id=ranges[0][0], ranges=ranges, period=text, queue=queue)
    assert encode_alloc_success(ranges, text, queue) == reply.encode()
    assert encode_alloc_success(ranges, period, queue) == reply.encode()


@given(range_lists, queue_names)
def test_the_fast_reader_reads_what_workers_write(
    ranges: list[tuple[int, int]], queue: str | None
) -> None:
    """No model is needed for a reply as a worker writes it."""
    assert read_alloc_success(encode_alloc_success(ranges, None, queue)) == (ranges, queue)


_ENDS = st.integers(0, 5) | st.integers(MAX_ID - 1, MAX_ID + 2) | st.just(-1)


@given(_ENDS, st.lists(st.tuples(_ENDS, _ENDS), max_size=3), st.sampled_from(["%d", "0%d", " %d"]))
def test_the_fast_reader_believes_what_the_model_believes(
    first: int, ranges: list[tuple[int, int]], form: str
) -> None:
    """Whatever the numbers are: it takes no reply that the model refuses."""
    pairs = ",".join(f"[{form % left},{right}]" for left, right in ranges)
    body = f'{{"resp_code":0,"msg":"success","id":{first},"ranges":[{pairs}]}}'.encode()
    try:
        believed = parse_alloc_reply(body)
    except InvalidMessageError:
        assert read_alloc_success(body) is None
        return
    assert isinstance(believed, AllocReply)
    assert read_alloc_success(body) in ((believed.ranges, None), None)


@given(app_tags | texts | st.text(max_size=40))
def test_a_tag_is_one_with_and_without_the_model(text: str) -> None:
    """The short check of a name and the model's agree."""
    try:
        AllocRequest(app_tag=text)
    except ValidationError:
        assert not is_app_tag(text)
    else:
        assert is_app_tag(text)


@given(st.integers(max_value=-1), texts, st.none() | naturals)
def test_an_error_reply_survives_the_wire(code: int, msg: str, retry_after: int | None) -> None:
    """Any error is read as it was written, from either queue."""
    reply = ErrorReply(resp_code=code, msg=msg, retry_after_ms=retry_after)
    assert parse_alloc_reply(reply.encode()) == parse_health_reply(reply.encode()) == reply


@given(
    naturals, texts, st.lists(tag_healths, max_size=3), naturals, st.dictionaries(texts, naturals)
)
def test_a_health_reply_survives_the_wire(
    left: int, worker: str, tags: list[TagHealth], tags_total: int, counters: dict[str, int]
) -> None:
    """Any state of a worker is read as it was written."""
    reply = HealthReply(
        left=left, worker=worker, tags=tags, tags_total=tags_total, counters=counters
    )
    assert parse_health_reply(reply.encode()) == reply


def test_the_contract_by_example() -> None:
    """The bodies that the documentation shows are read and written as shown."""
    body = b'{"resp_code":0,"msg":"success","id":1,"ranges":[[1,501]]}'
    assert encode_alloc_success([(1, 501)]) == body
    assert parse_alloc_reply(body) == AllocReply(id=1, ranges=[(1, 501)])
    assert AllocReply(id=1, ranges=[(1, 501)]).encode() == body
    of_november = body[:-1] + b',"period":"2026-11"}'
    assert encode_alloc_success([(1, 501)], "2026-11") == of_november
    assert parse_alloc_reply(of_november) == AllocReply(id=1, ranges=[(1, 501)], period="2026-11")
    of_an_owner = body[:-1] + b',"queue":"id.ordered.5"}'
    assert encode_alloc_success([(1, 501)], None, "id.ordered.5") == of_an_owner
    assert parse_alloc_request(b'{"app_tag":"order"}').count == 1
    assert parse_health_request(b"{}").app_tag is None
    assert HealthRequest().encode() == b"{}"
    assert ErrorReply(resp_code=RespCode.INTERNAL, msg="x").encode() == (
        b'{"resp_code":-8,"msg":"x"}'
    )


def test_the_codes_are_those_of_the_contract() -> None:
    """The numbers of the result codes never change."""
    assert {code.name: code.value for code in RespCode} == {
        "SUCCESS": 0,
        "NO_AVAILABLE_ID": -1,
        "INVALID_REQUEST": -2,
        "APP_TAG_NOT_FOUND": -3,
        "EXHAUSTED": -4,
        "FORBIDDEN": -5,
        "BUSY": -6,
        "SHUTTING_DOWN": -7,
        "INTERNAL": -8,
    }


# Older and newer peers

unknown_fields = st.dictionaries(
    st.text(PRINTABLE).filter(lambda name: name not in FIELDS),
    st.none() | st.integers() | st.lists(texts),
)


@given(unknown_fields)
def test_unknown_fields_are_ignored(unknown: dict[str, object]) -> None:
    """A newer peer may say more than this version knows, in requests and in replies."""

    def with_more(**known: object) -> bytes:
        return json.dumps(unknown | known).encode()

    assert parse_alloc_request(with_more(app_tag="a", count=3)) == AllocRequest(
        app_tag="a", count=3
    )
    assert parse_health_request(with_more(app_tag="a")) == HealthRequest(app_tag="a")
    assert parse_alloc_reply(with_more(resp_code=0, msg="success", id=1, ranges=[[1, 4]])) == (
        AllocReply(id=1, ranges=[(1, 4)])
    )
    error = ErrorReply(resp_code=-6, msg="busy")
    assert parse_alloc_reply(with_more(resp_code=-6, msg="busy")) == error
    tag = {"app_tag": "a", "state": "ready"}
    health = HealthReply(left=3, tags=[TagHealth(app_tag="a", state=TagState.READY)])
    assert parse_health_reply(with_more(resp_code=0, left=3, tags=[unknown | tag])) == health


@pytest.mark.parametrize("parse", REPLY_PARSERS)
def test_a_code_of_a_newer_worker_counts_as_internal(parse: Parse) -> None:
    """An error that this version does not know is still an error, with its number kept."""
    reply = parse(b'{"resp_code":-4711,"msg":"new"}')
    assert isinstance(reply, ErrorReply)
    assert (reply.resp_code, reply.code) == (-4711, RespCode.INTERNAL)


@pytest.mark.parametrize("code", [code for code in RespCode if code < 0])
def test_a_known_code_is_told_as_such(code: RespCode) -> None:
    """Every error code of the contract arrives as itself."""
    reply = parse_alloc_reply(b'{"resp_code":%d,"msg":"x"}' % code)
    assert isinstance(reply, ErrorReply)
    assert reply.code is code


def test_a_state_of_a_newer_worker_is_kept_as_a_word() -> None:
    """A state that this version does not know does not make the rest unreadable."""
    body = b'{"resp_code":0,"left":0,"tags":[{"app_tag":"a","state":"resting"}]}'
    reply = parse_health_reply(body)
    assert isinstance(reply, HealthReply)
    assert reply.tags[0].state == "resting"
    assert not reply.tags[0].healthy


@pytest.mark.parametrize("state", TagState)
def test_a_known_state_is_told_as_such(state: TagState) -> None:
    """Every state arrives as itself, not as a mere string."""
    body = b'{"resp_code":0,"left":0,"tags":[{"app_tag":"a","state":"%s"}]}' % state.encode()
    reply = parse_health_reply(body)
    assert isinstance(reply, HealthReply)
    assert reply.tags[0].state is state


@pytest.mark.parametrize(
    ("state", "left", "healthy"),
    [
        (TagState.COLD, 0, True),
        (TagState.READY, 5, True),
        (TagState.REFILLING, 0, True),
        (TagState.FAILING, 5, True),
        (TagState.FAILING, 0, False),
        (TagState.REFUSED, 5, True),
        (TagState.REFUSED, 0, False),
    ],
)
def test_healthy_means_that_the_next_request_can_expect_an_id(
    state: TagState,
    left: int,
    healthy: bool,  # noqa: FBT001  # drawn
) -> None:
    """Ids in memory or on their way are healthy; a cold tag is too."""
    assert TagHealth(app_tag="a", state=state, left=left).healthy is healthy


def test_a_worker_may_leave_rate_and_cover_out() -> None:
    """An older one knows neither, and a tag that is not used has no cover."""
    body = b'{"resp_code":0,"left":0,"tags":[{"app_tag":"a","state":"ready"%s}]}'
    for more, rate, cover in ((b"", 0, None), (b',"rate":2,"cover":1.5', 2, 1.5)):
        reply = parse_health_reply(body % more)
        assert isinstance(reply, HealthReply)
        assert (reply.tags[0].rate, reply.tags[0].cover) == (rate, cover)


@pytest.mark.parametrize("number", [-1.0, float("inf"), float("nan")])
def test_a_rate_is_a_number_that_json_has(number: float) -> None:
    """What could not be written is not made in the first place."""
    with pytest.raises(ValidationError):
        TagHealth(app_tag="a", state=TagState.READY, rate=number)
    with pytest.raises(ValidationError):
        TagHealth(app_tag="a", state=TagState.READY, cover=number)


# Anything at all

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
messages = st.dictionaries(st.sampled_from(FIELDS), json_values | st.integers(-9, 9))
hostile_bodies = st.one_of(
    st.binary(),
    json_values.map(json.dumps).map(str.encode),
    messages.map(json.dumps).map(str.encode),
    st.tuples(messages, st.binary(max_size=4), st.integers(0, 300)).map(
        lambda parts: (
            (text := json.dumps(parts[0]).encode())[: parts[2]] + parts[1] + text[parts[2] :]
        )
    ),
)


@given(hostile_bodies)
@example(b'{"resp_code":0,"left":0,"tags":[[[[]]]]}')
@example(b'{"resp_code":-' + b"9" * 4000 + b',"msg":""}')
@example(b'{"resp_code":0,"left":0,"counters":{"a\\nb":-1}}')
def test_no_body_raises_anything_else(body: bytes) -> None:
    """Whatever arrives, it is a message or an `InvalidMessageError`, and one line of text."""
    for parse in PARSERS:
        try:
            message = parse(body)
        except InvalidMessageError as error:
            assert "\n" not in str(error)  # noqa: PT017  # not all bodies raise
        else:
            assert isinstance(message, BaseModel)
            if isinstance(message, ErrorReply):
                assert message.code in RespCode
