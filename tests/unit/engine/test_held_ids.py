"""What a tag holds, and where that came from: the books, and the edges that others are told."""

from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.engine._held_ids import HeldIds
from idalloc_worker.tags._segment import Segment


def holding(*segments: tuple[int, int], taken: int = 0) -> HeldIds:
    held = HeldIds()
    for left, right in segments:
        held.add(Segment(left, right))
    held.take(taken)
    return held


def test_what_was_handed_out_of_the_present_segment_is_remembered() -> None:
    """Another worker that claims any of it is to hear of it, and not only of what is left."""
    held = holding((10, 20), (50, 60), taken=3)
    assert held.overlap(0, 11) == (10, 20)
    assert held.overlap(19, 55) == (10, 60)
    assert held.overlap(20, 50) is None
    held.drop_from(100)  # nothing: what a row says at each refill
    assert held.overlap(0, 11) == (10, 20)
    held.drop_from(15)
    assert held.overlap(0, 11) == (10, 15)
    held.drop_all()
    assert held.overlap(0, 100) == (10, 13)


def test_a_claim_of_others_voids_all_that_is_left() -> None:
    """Nobody can tell any more whose the ids are; also where only what is used up overlaps."""
    held = holding((10, 20), (50, 60), taken=3)
    assert held.contest(20, 50) is None
    assert held.remaining == 17
    assert held.contest(0, 11) == (10, 20)
    assert (held.remaining, held.lost) == (0, 17)


def test_the_reach_ends_what_is_held_or_was_handed_out() -> None:
    """A segment that nothing was handed out of, and that is given back, leaves no trace."""
    held = holding((10, 20), (50, 60), taken=10)
    assert held.reach == 60
    assert held.surrender_tail() == (50, 60)
    assert held.reach == 20
    assert holding().reach == 0
    untouched = holding((10, 20))
    untouched.surrender_tail()
    assert untouched.reach == 0


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), max_size=6),
    st.lists(st.sampled_from(["take", "tail", "ceiling"]), max_size=12),
)
def test_the_reach_is_never_below_what_counts(
    gaps_and_sizes: list[tuple[int, int]], acts: list[str]
) -> None:
    """Whatever is taken, surrendered or cut off, in any order."""
    held, edge, handed_out = HeldIds(), 1, 0
    for gap, size in gaps_and_sizes:
        held.add(Segment(edge + gap, edge + gap + size))
        edge += gap + size
    for act in acts:
        if act == "take" and held.remaining:
            handed_out = held.take(1)[-1][1]
        elif act == "tail":
            held.surrender_tail()
        elif act == "ceiling":
            held.drop_from(edge - 2)
        ends = [right for _, right in held.held()]
        assert held.reach == max(ends, default=handed_out)
