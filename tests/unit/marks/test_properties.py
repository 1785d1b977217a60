"""Message properties as a hostile publisher writes them."""

import struct
from collections.abc import Iterator

import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.frame import decode_frame
from pika.spec import BasicProperties

from idalloc_client.amqp._io._channel import _as_bytes
from idalloc_client.amqp._io._frames import MAX_TABLE
from idalloc_client.amqp._io._message_headers import HeaderlessProperties, ignore_message_headers


@pytest.fixture(autouse=True)
def _headers_ignored() -> Iterator[None]:
    original = pika.spec.props[BasicProperties.INDEX]
    ignore_message_headers()
    yield
    pika.spec.props[BasicProperties.INDEX] = original


def encode(properties: BasicProperties, table: bytes | None = None) -> bytes:
    """Write properties as they stand in a frame, with `table` in place of the headers."""
    if table is not None:
        properties.headers = {"marker": "x"}
    encoded = b"".join(properties.encode())
    if table is None:
        return encoded
    marker = b"\x00\x00\x00\x0d\x06markerS\x00\x00\x00\x01x"
    assert marker in encoded
    return encoded.replace(marker, struct.pack(">I", len(table)) + table)


def decode(encoded: bytes) -> BasicProperties:
    payload = struct.pack(">HHQ", BasicProperties.INDEX, 0, 0) + encoded
    frame = struct.pack(">BHL", pika.spec.FRAME_HEADER, 1, len(payload)) + payload + b"\xce"
    _, decoded = decode_frame(frame)
    properties: BasicProperties = decoded.properties  # type: ignore[union-attr]  # a Header
    return properties


short = st.text(max_size=40)


@given(
    content_type=st.none() | short,
    content_encoding=st.none() | short,
    correlation_id=st.none() | short,
    reply_to=st.none() | short,
    expiration=st.none() | short,
    headers=st.none() | st.dictionaries(short, st.integers(-(2**40), 2**40) | short, max_size=4),
)
def test_everything_but_the_headers_is_read(**given_properties: object) -> None:
    """Skipping the table leaves every other property as it was sent."""
    headers = given_properties.pop("headers")
    decoded = decode(encode(BasicProperties(**given_properties, headers=headers)))
    assert isinstance(decoded, HeaderlessProperties)
    assert not decoded.headers
    for name, value in given_properties.items():
        assert getattr(decoded, name) == value


@pytest.mark.parametrize(
    "table",
    [
        b"\x01tT" + struct.pack(">Q", 2**63),  # a date that no clock will show
        b"\x01t?",  # no such type
        (b"\x01tF\xff\xff\xff\xff") * 5000,  # nested beyond Python's recursion limit
    ],
)
def test_headers_that_pika_cannot_read_do_no_harm(table: bytes) -> None:
    """The reply address is found behind a table that would raise an error."""
    decoded = decode(encode(BasicProperties(content_type="a", reply_to="b"), table))
    assert decoded.reply_to == "b"


@pytest.mark.parametrize("size", [0, 10, MAX_TABLE - 4, MAX_TABLE])
def test_the_table_is_kept_as_it_came_unless_it_is_long(size: int) -> None:
    """For whoever knows what to look for in it; as by the reader that does without pika."""
    table = b"x" * size
    properties = decode(encode(BasicProperties(), table))
    whole = struct.pack(">I", size) + table
    assert _as_bytes(properties).table == (whole if len(whole) <= MAX_TABLE else None)
    assert _as_bytes(decode(encode(BasicProperties()))).table is None
