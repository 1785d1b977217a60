"""What a row lets one reserve, decided without a database."""

import pytest

from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.store._reservation import Row, plan_for
from idalloc_worker.tags._errors import (
    InvalidRowError,
    TagError,
    TagHasPeriodsError,
    TagIsOrderedError,
    TagNotFoundError,
)

YEAR = {"period": "year"}


@pytest.mark.parametrize(
    ("app_tag", "columns", "refusal"),
    [
        ("tenant-*", {"new_per_minute": 5}, TagNotFoundError),
        ("tenant", {"new_per_minute": 5}, InvalidRowError),
        ("invoice", YEAR, TagHasPeriodsError),
        ("x" * 27, YEAR, TagHasPeriodsError),
        ("x" * 28, YEAR, InvalidRowError),
        ("invoice", YEAR | {"ordered": 1}, TagIsOrderedError),
    ],
)
def test_rows_that_hand_nothing_out(
    app_tag: str, columns: dict[str, object], refusal: type[TagError]
) -> None:
    """Patterns, and tags whose periods do; of an ordered tag its owner finds that out."""
    row = Row.checked(app_tag, {"max_id": 0, "step": 10, **columns})
    with pytest.raises(refusal):
        plan_for(ReservationRequest(app_tag, 1), row)


def test_the_row_of_a_period_is_one_like_any_other() -> None:
    row = Row.checked("invoice@2026", {"max_id": 0, "step": 10, "period": "2026"})
    assert plan_for(ReservationRequest("invoice@2026", 1), row).count >= 10


def test_the_owner_of_an_ordered_tag_learns_of_its_periods() -> None:
    row = Row.checked("invoice", {"max_id": 0, "step": 10, "ordered": 1, **YEAR})
    with pytest.raises(TagHasPeriodsError):
        plan_for(ReservationRequest("invoice", 1, ordered=True), row)
