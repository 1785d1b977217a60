"""How much of an id space is used up."""

import pytest

from idalloc_schemas import MAX_ID
from idalloc_worker.tags._id_space import end_of_space, space_used


@pytest.mark.parametrize(
    ("ceiling", "end"), [(None, MAX_ID), (999, 1000), (MAX_ID, MAX_ID), (MAX_ID - 1, MAX_ID)]
)
def test_the_end_of_the_space(ceiling: int | None, end: int) -> None:
    """The ceiling is the last id, and no segment ends above what the column holds."""
    assert end_of_space(ceiling) == end


@pytest.mark.parametrize(
    ("mark", "percent", "threshold"),
    [
        (0, 0, 0),
        (499, 49.9, 0),
        (500, 50, 50),
        (799, 79.9, 50),
        (800, 80, 80),
        (950, 95, 95),
        (1000, 100, 95),
        (5000, 100, 95),  # the ceiling was lowered
    ],
)
def test_how_much_is_used(mark: int, percent: float, threshold: int) -> None:
    """The percentage is that of the mark, and a threshold counts from where it is reached."""
    used = space_used(mark, 999)
    assert used.percent == pytest.approx(percent)
    assert used.threshold == threshold


def test_a_space_without_a_ceiling_is_the_column() -> None:
    """Half of 63 bits are half of the space."""
    assert space_used(2**62, None).threshold == 50
