"""What a survey makes of two polls."""

import pytest

from tests.surveys import polls, reply, tag


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


def test_a_worker_that_comes_back_is_compared_with_its_last_answer() -> None:
    """Over the time since then, not over one interval."""
    table = polls([reply("a", granted=0)], [], [reply("a", granted=40)])
    assert [(one.granted, one.gone) for one in table.workers] == [(10, False)]


def test_the_buffers_of_each_worker_are_told() -> None:
    """In the order of their use; who holds nothing and asks for nothing is left out."""
    table = polls(
        [
            reply("a", tag(segments=[(40, 100), (200, 300)], step=100)),
            reply("b", tag(state="refilling", left=0, step=100)),
            reply("c", tag(state="cold", left=0)),
        ]
    )
    (order,) = table.tags
    told = [(one.worker, one.state, one.segments, one.step) for one in order.buffers]
    assert told == [("a", "ready", (60, 100), 100), ("b", "refilling", (), 100)]


def test_the_owner_of_an_ordered_tag_is_whoever_does_not_stand_by() -> None:
    """While its partition changes hands there is none; an ordinary tag has neither."""
    waiting = reply("a", tag(state="standby", left=0, partition=3))
    (owned,) = polls([waiting, reply("b", tag(state="cold", left=0, partition=3))]).tags
    (between,) = polls([waiting]).tags
    (ordinary,) = polls([reply("a", tag())]).tags
    assert [(row.partition, row.owner) for row in (owned, between, ordinary)] == [
        (3, "b"),
        (3, None),
        (None, None),
    ]


def test_rewinds_repaired_are_a_total() -> None:
    """They are rare: a rate of them would be missed."""
    table = polls([reply("a", rewinds_repaired=2)], [reply("a", rewinds_repaired=2)])
    assert table.workers[0].rewinds_repaired == 2
