"""The table in memory keeps what a table in MySQL keeps."""

import threading

import pytest

from idalloc_schemas import MAX_ID, Period, PeriodKind
from idalloc_worker.dev._table import MemoryTable, Tag
from idalloc_worker.engine import ReservationRequest
from idalloc_worker.store import NewRow
from idalloc_worker.tags import (
    InvalidRowError,
    PeriodNotBegunError,
    TagExhaustedError,
    TagIsOrderedError,
    TagNotFoundError,
)


def table(gaps: dict[str, int] | None = None, **columns: object) -> MemoryTable:
    return MemoryTable([Tag("order", columns)], gaps)


def request(app_tag: str = "order", want: int = 1, **further: object) -> ReservationRequest:
    return ReservationRequest(app_tag, want, **further)  # type: ignore[arg-type]  # of each its own


def reserve(rows: MemoryTable, wanted: ReservationRequest | None = None) -> tuple[int, int]:
    segment = rows.reserve(wanted or request()).segment
    return segment.left, segment.right


def test_segments_follow_one_another() -> None:
    """Each a whole number of steps, and enough for those who wait."""
    rows = table(step=10, max_id=100)
    assert [reserve(rows), reserve(rows, request(want=25)), reserve(rows)] == [
        (100, 110),
        (110, 140),
        (140, 150),
    ]
    assert rows.read_marks(["order", "other"]) == {"order": 150}


def test_threads_share_the_rows() -> None:
    """No two of them get the same segment."""
    rows, got = table(step=1), list[tuple[int, int]]()
    threads = [
        threading.Thread(target=lambda: got.extend(reserve(rows) for _ in range(500)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [(left, left + 1) for left in range(2000)]


def test_nothing_below_the_floor() -> None:
    """What the broker remembers of the life before is not handed out again."""
    rows = table(step=10)
    assert reserve(rows, request(floor=500)) == (500, 510)
    assert reserve(rows) == (510, 520)


def test_a_gap_after_each_step() -> None:
    """A segment is one step then, however much is wanted."""
    rows = table({"order": 7}, step=10)
    assert [reserve(rows, request(want=25)), reserve(rows)] == [(0, 10), (17, 27)]


def test_ids_are_given_back_unless_somebody_reserved_since() -> None:
    rows = table(step=10)
    reserve(rows)
    assert rows.give_back("order", 4, 10)
    assert not rows.give_back("order", 0, 10)
    assert reserve(rows) == (4, 14)
    assert rows.raise_mark("order", 14, 100)
    assert not rows.raise_mark("order", 14, 200)
    assert reserve(rows) == (100, 110)


def test_which_tags_there_are() -> None:
    """Those that are named; and all of them where none is."""
    rows, open_to_all = table(), MemoryTable()
    with pytest.raises(TagNotFoundError):
        reserve(rows, request("oder"))
    assert rows.existing(["order", "oder"]) == {"order"}
    assert open_to_all.existing(["order", "oder"]) == {"order", "oder"}
    assert reserve(open_to_all, request("oder")) == (0, 1000)


def test_the_columns_count() -> None:
    """Ordered tags, users, ceilings, as they do in MySQL."""
    rows = table(ordered=1, step=10)
    assert rows.ordered_tags() == {"order": 0}
    with pytest.raises(TagIsOrderedError):
        reserve(rows)
    assert reserve(rows, request(ordered=True)) == (0, 10)
    assert reserve(table(allowed_users="one two"), request(users=frozenset({"three"}))) == (0, 0)
    with pytest.raises(TagExhaustedError):
        reserve(table(max_id=MAX_ID))
    limited = table({"order": 100}, ceiling=14, step=10)
    assert [reserve(limited), limited.read_marks(["order"])["order"]] == [(0, 10), 15]
    with pytest.raises(InvalidRowError):
        table(step=0)


def test_rows_that_others_are_made_from() -> None:
    """Patterns and tags with periods, as in MySQL; a new row has the settings of the other."""
    rows = table(step=10, new_per_minute=60, ceiling=99, max_id=50)
    assert rows.templates().rows["order"].is_pattern
    new = NewRow("order-1", "order")
    assert (rows.add_row(new), rows.add_row(new)) == (True, False)
    assert reserve(rows, request("order-1")) == (0, 10)
    assert list(rows.templates().rows) == ["order"]
    with pytest.raises(TagNotFoundError):
        rows.add_row(NewRow("a-1", "a-*"))


def test_periods_begin_by_this_machines_clock() -> None:
    rows = table(period="day", step=10)
    settings = rows.templates().rows["order"]
    today = Period.at(PeriodKind.DAY, rows.read_clock(), settings.zone)
    tomorrow = today.next()
    assert rows.add_row(NewRow.of_period(today.row_of("order"), today, settings))
    assert reserve(rows, request(today.row_of("order"))) == (0, 10)
    with pytest.raises(PeriodNotBegunError):
        rows.add_row(NewRow.of_period(tomorrow.row_of("order"), tomorrow, settings))
    assert rows.remove_periods("order", today) == []
