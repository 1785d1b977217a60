"""Requests on their way to the owner of their tag."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_schemas import AllocRequest, InvalidMessageError
from idalloc_worker.ordered._bundles import (
    MAX_REQUESTS,
    OrderedRequest,
    bundled,
    decode_bundle,
    encode_bundle,
)
from idalloc_worker.tags._partitions import partition_of

TAGS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=32)
SHORT_STRINGS = st.none() | st.binary(max_size=255)
REQUESTS = st.builds(
    OrderedRequest,
    wanted=st.builds(AllocRequest, app_tag=st.just("order"), count=st.integers(1, 2**63 - 1)),
    reply_to=SHORT_STRINGS,
    correlation_id=SHORT_STRINGS,
    user=SHORT_STRINGS,
    traceparent=st.none() | st.just(b"00-" + b"7" * 32 + b"-" + b"7" * 16 + b"-01"),
)
WANTED = st.tuples(TAGS, st.just(inf) | st.floats(0.001, 10**6))


@given(st.lists(REQUESTS, min_size=1, max_size=MAX_REQUESTS))
def test_requests_arrive_as_they_were_sent(requests: list[OrderedRequest]) -> None:
    """Also with properties that are no text, or not there."""
    assert decode_bundle(encode_bundle(requests), partition_of("order")) == requests


@given(st.lists(WANTED, max_size=300))
def test_every_request_is_in_one_bundle_of_its_partition(wanted: list[tuple[str, float]]) -> None:
    """In order within each tag and lifetime, no bundle too large, and none lives too long."""
    bundles = bundled(wanted)
    assert sorted(n for bundle in bundles for n in bundle.numbers) == list(range(len(wanted)))
    for bundle in bundles:
        assert 0 < len(bundle.numbers) <= MAX_REQUESTS
        assert list(bundle.numbers) == sorted(bundle.numbers)
        for number in bundle.numbers:
            app_tag, seconds = wanted[number]
            assert partition_of(app_tag) == bundle.partition
            if bundle.milliseconds is None:
                assert seconds == inf
            else:
                assert 0.85 * seconds - 0.001 <= bundle.milliseconds / 1000 <= seconds


def test_what_is_read_at_once_travels_together() -> None:
    """Requests with nearly the same time left make one message."""
    assert len(bundled([("order", 5.0 + n / 1000) for n in range(MAX_REQUESTS)])) <= 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"requests":[]}',
        b'{"requests":[["order",1,"r"]]}',
        b'{"requests":[["order",0,"r",null,null]]}',
        b'{"requests":[["order",true,"r",null,null]]}',
        b'{"requests":[["",1,"r",null,null]]}',
        b'{"requests":[["order",1,7,null,null]]}',
        b'{"requests":[["order",1,["xyz"],null,null]]}',
        b'{"requests":[["order",1,"r",{},null]]}',
        b'{"requests":[["order",1,"\\u0100",null,null]]}',
        b'{"requests":[["order",1,"%s",null,null]]}' % (b"r" * 256),
        b'{"requests":[["test_business",1,"r",null,null]]}',
    ],
)
def test_what_no_worker_wrote_is_refused(body: bytes) -> None:
    """Callers can publish to every queue through the default exchange."""
    with pytest.raises(InvalidMessageError):
        decode_bundle(body, partition_of("order"))


def test_what_a_newer_worker_adds_is_ignored() -> None:
    """Workers of two releases run side by side during an update."""
    body = b'{"v":2,"requests":[["order",3,"r","c","u",{"new":1}]]}'
    (request,) = decode_bundle(body, partition_of("order"))
    assert request == OrderedRequest(AllocRequest(app_tag="order", count=3), b"r", b"c", b"u")
