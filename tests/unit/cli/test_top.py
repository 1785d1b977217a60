"""How `idalloc top` writes a survey, and how it fits a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.cli._text_table import duration
from idalloc_worker.cli._top_text import Line, picture, write
from idalloc_worker.survey import GONE_FOR, Table, TagRow, WorkerRow
from tests.surveys import polls, reply, tag


def test_trouble_shows_before_the_ids_run_out() -> None:
    """A refill that fails catches the eye while callers notice nothing yet."""
    table = polls([reply("a", tag(state="failing", left=5)), reply("b", tag())])
    assert not table.tags[0].healthy
    assert [line.alarm for line in write(table) if line.text.startswith("order ")] == [True]


def test_a_tag_nobody_asked_for_is_cold_and_well() -> None:
    """No ids, no cover, no alarm."""
    table = polls([reply("a", tag(state="cold", left=0))])
    (order,) = table.tags
    assert (order.healthy, order.cover, order.workers) == (True, None, 0)
    assert not any(line.alarm for line in write(table))


def test_one_answer_that_is_late_changes_little() -> None:
    """What the worker held is still counted, by what it said last; its own rates are unknown."""
    first = [reply("a", tag(rate=5.0, ids_handed_out=4), granted=9)]
    table = polls(first, [])
    assert [(row.rate, row.left) for row in table.tags] == [(5.0, 10)]
    assert [(one.age, one.gone) for one in table.workers] == [(2.0, False)]
    assert "-" in write(table)[-1].text


def test_a_worker_that_vanishes_is_shown_as_gone_for_a_while() -> None:
    """Its ids are in no sum any more, and after some time nor is its name."""
    present = [reply("a", tag())]
    table = polls(present, [], [])
    assert (table.tags, table.present) == ([], [])
    assert [(one.name, one.age, one.gone) for one in table.workers] == [("a", 4.0, True)]
    assert [line.alarm for line in write(table) if line.text.startswith("a ")] == [True]
    later = int(GONE_FOR / 2) + 2
    assert polls(present, *[[] for _ in range(later)]).workers == []


def test_tags_that_do_not_fit_into_an_answer_are_told() -> None:
    """A worker lists the first thousand; the rest is a number."""
    full = reply("a", tag()).model_copy(update={"tags_total": 2001})
    table = polls([full])
    assert table.tags_unlisted == 2000
    assert Line("and 2,000 more tags") in write(table)
    assert "2,001 tags" in write(table)[0].text


def table_of(tags: int, workers: int) -> Table:
    return polls(
        [
            reply(f"idalloc worker host:{number}", *(tag(f"tag-{one:03}") for one in range(tags)))
            for number in range(workers)
        ]
    )


def test_without_limits_all_is_written() -> None:
    """A file has room for every row."""
    lines = write(table_of(300, 40))
    assert len(lines) == 2 + 301 + 1 + 41
    assert not any("more" in line.text for line in lines)


def test_rows_without_room_are_counted() -> None:
    """The screen is filled to its last row, and what is left out is a number."""
    lines = [line.text for line in picture(table_of(300, 3), 200, 24)]
    assert len(lines) == 24
    assert sum(line.startswith("tag-") for line in lines) == 14
    assert "and 286 more tags" in lines
    assert lines[-1] == "q quits"
    assert sum(line.startswith("idalloc worker") for line in lines) == 3


def test_many_workers_leave_room_for_tags() -> None:
    """And their own rest is counted as well."""
    lines = [line.text for line in picture(table_of(300, 50), 200, 24)]
    assert len(lines) == 24
    assert any(line.startswith("tag-") for line in lines)
    assert any(line.startswith("and ") and line.endswith("more workers") for line in lines)


@given(
    tags=st.integers(0, 40),
    workers=st.integers(0, 40),
    columns=st.integers(0, 200),
    rows=st.integers(0, 60),
    problem=st.sampled_from(["", "no answer " * 30]),
)
def test_it_always_fits(tags: int, workers: int, columns: int, rows: int, problem: str) -> None:
    """No terminal is too small, and each is filled."""
    lines = picture(table_of(tags, workers), columns, rows, problem)
    assert len(lines) == rows
    assert all(len(line.text) <= columns for line in lines)


def test_nothing_that_was_said_moves_the_cursor() -> None:
    """An error text of a database, or a host's name, is shown as text."""
    table = polls([reply("evil\x1b[2J\r\n", tag(last_error="a\x1b]0;b\x07\nc"))])
    assert all(line.text.isprintable() for line in write(table))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.9, "0s"),
        (59.9, "59s"),
        (600, "10m00s"),
        (3661, "1h01m"),
        (86_400, "1d"),
        (1e300, ">999d"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    """The two largest units at most."""
    assert duration(seconds) == text


def test_an_unprotected_fleet_and_a_lost_database_catch_the_eye() -> None:
    """Both are worth a look before anything fails."""
    row = WorkerRow(name="a", database=False, protected=False)
    lines = write(Table(tags=[], workers=[row], tags_unlisted=0))
    assert "NOT PROTECTED" in lines[0].text
    assert lines[-1].alarm
    assert " NO " in lines[-1].text


def test_a_row_in_full() -> None:
    """Numbers stand below their heads."""
    row = TagRow(
        app_tag="order",
        rate=1234.5,
        left=1_200_000,
        cover=972.0,
        waiters=0,
        workers=3,
        refills=0.04,
        state="ready",
        last_error=None,
        healthy=True,
    )
    lines = [line.text for line in write(Table(tags=[row], workers=[], tags_unlisted=0))]
    assert lines[2:4] == [
        "TAG    IDS/S       LEFT   COVER  WAITERS  WORKERS  REFILLS/S  STATE  LAST ERROR",
        "order  1,234  1,200,000  16m12s        0        3        0.0  ready",
    ]
