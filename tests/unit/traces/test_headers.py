"""The trace context among headers that anybody may write."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client.amqp._io._frames import MAX_TABLE, Properties, content, read_content_header
from idalloc_worker.traces._headers import traceparent_in, traceparent_of

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def table_of(headers: dict[str, str]) -> bytes | None:
    """Write headers as the client does, and read them as the worker does."""
    frames = content(1, Properties(headers=headers), b"", 131_072)
    (size,) = struct.unpack_from(">I", frames, 3)
    _, properties = read_content_header(frames[7 : 7 + size])
    return properties.table


def test_a_recorded_callers_context_is_found_wherever_it_stands() -> None:
    """Other headers may come before it and after it."""
    headers = {"baggage": "tenant=7", "traceparent": GOOD, "tracestate": "vendor=1"}
    table = table_of(headers)
    assert table is not None
    assert traceparent_in(table) == GOOD.encode()


@pytest.mark.parametrize(
    "value",
    [
        "",
        GOOD[:-1],
        GOOD + "-more",
        GOOD.upper(),
        GOOD.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        GOOD.replace("b7ad6b7169203331", "0" * 16),
        GOOD[:-1] + "0",
        "ff" + GOOD[2:],
        "\n" * len(GOOD),
        "x" * 10_000,
    ],
    ids=lambda value: value[:40].strip() or "blank",
)
def test_what_is_no_context_of_a_recorded_caller_is_none(value: str) -> None:
    """One that is not recorded is not shown by others either: there is nothing to add to."""
    table = table_of({"traceparent": value})
    assert table is not None
    assert traceparent_in(table) is None
    assert traceparent_of(value.encode()) is None


def test_a_table_that_is_long_is_skipped() -> None:
    """Nobody decides what memory its readers need; the properties behind it are read."""
    assert table_of({"traceparent": GOOD, "baggage": "x" * MAX_TABLE}) is None


@given(st.binary(max_size=300))
def test_a_table_of_rubbish_does_no_harm(rubbish: bytes) -> None:
    """It is looked through as bytes: unknown types, nested tables and bad lengths are nothing."""
    assert traceparent_in(rubbish) is None
    assert traceparent_in(rubbish + b"\x0btraceparentS\x00\x00\x00\x37") is None
