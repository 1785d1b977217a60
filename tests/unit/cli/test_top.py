"""What `idalloc top` makes of two polls, and how it fits a terminal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_schemas import HealthReply, TagHealth
from idalloc_worker.cli._top_table import GONE_FOR, Poll, Table, TagRow, WorkerRow, compare
from idalloc_worker.cli._top_text import Line, duration, picture, write

NOTHING = Poll(0.0, {})


def reply(worker: str, *tags: TagHealth, **counters: int) -> HealthReply:
    return HealthReply(
        left=sum(tag.left for tag in tags),
        worker=worker,
        tags=list(tags),
        tags_total=len(tags),
        database=True,
        protected=True,
        counters=counters,
    )


def tag(name: str = "order", state: str = "ready", **numbers: Any) -> TagHealth:
    return TagHealth(app_tag=name, state=state, **{"left": 10} | numbers)


def polls(*answers: list[HealthReply], every: float = 2.0) -> Table:
    """Compare the last two of these polls."""
    before = after = NOTHING
    for number, replies in enumerate(answers, 1):
        before, after = after, after.then(number * every, replies)
    return compare(before, after)


def test_rates_are_what_happened_between_two_polls() -> None:
    """Per tag over all workers, and per worker, each divided by the time between."""
    table = polls(
        [
            reply("a", tag(ids_handed_out=100, refills=1), requests=50, granted=40, answered=10),
            reply("b", tag(ids_handed_out=1000, left=5), requests=9),
        ],
        [
            reply("a", tag(ids_handed_out=300, refills=3), requests=72, granted=60, answered=12),
            reply("b", tag(ids_handed_out=1040, left=7), requests=9, busy=3, exhausted=1),
        ],
    )
    (order,) = table.tags
    assert (order.rate, order.left, order.workers, order.refills) == (120, 17, 2, 1)
    a, b = table.workers
    assert (a.requests, a.granted, a.errors) == (10, 10, 0)  # two requests were for health
    assert (b.requests, b.granted, b.errors) == (0, 0, 2)


def test_an_answer_that_is_older_counts_from_when_it_was_made() -> None:
    """It was made for somebody who asked before; the same one twice says nothing of a rate."""
    older = reply("a", tag(ids_handed_out=300), requests=60)
    table = polls(
        [reply("a", tag(ids_handed_out=100), requests=40)],
        [older.model_copy(update={"age_ms": 1000})],
    )
    assert (table.tags[0].rate, table.workers[0].requests) == (200, 20)
    told_again = [older.model_copy(update={"age_ms": age}) for age in (100, 601)]
    table = polls([told_again[0]], [told_again[1]], every=0.5)
    assert not table.workers[0].gone
    assert (table.tags[0].rate, table.workers[0].requests) == (0, 0)


def test_the_worst_is_shown() -> None:
    """Of the workers' states the worst, of their covers the least, and a reason for it."""
    table = polls(
        [
            reply("a", tag(cover=90.0, waiters=2)),
            reply("b", tag(state="failing", left=0, cover=5.0, last_error="gone away")),
            reply("c", tag(state="cold", left=0)),
        ]
    )
    (order,) = table.tags
    assert (order.state, order.cover, order.waiters, order.workers) == ("failing", 5.0, 2, 2)
    assert (order.last_error, order.healthy) == ("gone away", False)
    assert [worker.last_error for worker in table.workers] == [None, "order: gone away", None]


def test_trouble_shows_before_the_ids_run_out() -> None:
    """A refill that fails catches the eye while callers notice nothing yet."""
    table = polls([reply("a", tag(state="failing", left=5)), reply("b", tag())])
    assert not table.tags[0].healthy
    assert [line.alarm for line in write(table) if line.text.startswith("order ")] == [True]


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        (["cold", "ready"], "ready"),
        (["ready", "standby"], "ready"),
        (["ready", "dreaming"], "dreaming"),  # a state that a later version will have
        (["refilling", "dreaming"], "refilling"),
        (["refused", "failing"], "refused"),
    ],
)
def test_states_have_an_order(states: list[str], worst: str) -> None:
    """Cold is the mildest; a word that nobody knows yet hides no trouble."""
    table = polls([reply(str(number), tag(state=state)) for number, state in enumerate(states)])
    assert [row.state for row in table.tags] == [worst]


def test_a_tag_nobody_asked_for_is_cold_and_well() -> None:
    """No ids, no cover, no alarm."""
    table = polls([reply("a", tag(state="cold", left=0))])
    (order,) = table.tags
    assert (order.healthy, order.cover, order.workers) == (True, None, 0)
    assert not any(line.alarm for line in write(table))


def test_the_busiest_come_first() -> None:
    """Tags by their rate, equals by their name."""
    table = polls([reply("a", tag("x"), tag("c", rate=1.0), tag("b", rate=9.0), tag("d"))])
    assert [row.app_tag for row in table.tags] == ["b", "c", "d", "x"]


def test_who_is_new_says_its_rate_itself() -> None:
    """Its counters tell of its whole life, not of the last interval."""
    table = polls([], [reply("a", tag(ids_handed_out=10**9, rate=7.5))])
    assert table.tags[0].rate == 7.5


def test_counters_that_begin_again() -> None:
    """A worker that restarts under its old name counts from 0: nothing is negative."""
    table = polls(
        [reply("a", tag(ids_handed_out=1000), granted=500)],
        [reply("a", tag(ids_handed_out=20), granted=4)],
    )
    assert (table.tags[0].rate, table.workers[0].granted) == (10, 2)


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


def test_a_worker_that_comes_back_is_compared_with_its_last_answer() -> None:
    """Over the time since then, not over one interval."""
    table = polls([reply("a", granted=0)], [], [reply("a", granted=40)])
    assert [(one.granted, one.gone) for one in table.workers] == [(10, False)]


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
