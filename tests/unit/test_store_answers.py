"""What the server says it reserved is checked before it is believed: tables may be anything."""

import pytest

from idalloc_schemas import MAX_ID
from idalloc_worker._segment import Segment
from idalloc_worker._store import _reserved
from idalloc_worker._store_errors import InvalidRowError, TagExhaustedError


def test_a_segment_at_the_floor_is_taken() -> None:
    """Up to the last id that there is."""
    assert _reserved("t", 1, 10, 20, 10) == Segment(10, 20)
    assert _reserved("t", 1, 10, MAX_ID, 10) == Segment(10, MAX_ID)


def test_a_segment_below_the_floor_is_refused() -> None:
    """A trigger or a view has its own way with the row; ids below the floor are in use."""
    with pytest.raises(InvalidRowError, match="below 10"):
        _reserved("t", 1, 9, 19, 10)


def test_a_segment_beyond_the_id_space_is_refused() -> None:
    """A column may hold more than an id can be."""
    with pytest.raises(TagExhaustedError):
        _reserved("t", 1, MAX_ID, MAX_ID + 1, 10)


def test_a_change_of_two_rows_is_refused() -> None:
    """Without a primary key there may be more than one."""
    with pytest.raises(InvalidRowError, match="more than one"):
        _reserved("t", 2, 10, 20, 10)
