"""How far the word of others moves a row."""

from hypothesis import given
from hypothesis import strategies as st

from idalloc_schemas import MAX_ID
from idalloc_worker.tags._plausible import LEAP, is_plausible

edges = st.integers(0, MAX_ID)


@given(edges, edges, edges, edges)
def test_no_message_makes_ids_run_out(row: int, heard: int, own: int, end: int) -> None:
    """What is believed leaves at least half of what there was, beyond what the worker knows."""
    if is_plausible(row, heard, own, end):
        sure = max(row, own)
        assert heard <= sure or (heard <= sure + LEAP and end - heard >= (end - sure) / 2)


@given(edges, edges, edges)
def test_what_a_worker_reserved_itself_needs_nobodys_word(row: int, own: int, end: int) -> None:
    """However far the row was set back."""
    assert is_plausible(row, own, own, end)


def test_what_a_database_can_have_lost_is_repaired() -> None:
    """A restore from a week ago, of the fastest fleet that we know of."""
    a_week = 7 * 24 * 3600 * 10_000_000
    assert is_plausible(5, 5 + a_week, 0, MAX_ID)
    assert is_plausible(5, 5 + LEAP, 0, MAX_ID)
    assert not is_plausible(5, 6 + LEAP, 0, MAX_ID)
