"""Whoever hears numbered messages knows whether some is missing."""

import pytest

from idalloc_worker.marks._numbers import HeardNumbers, SentNumbers


def hears(*message_ids: str, most: int = 9) -> list[bool]:
    """Tell for each message whether it shows a gap."""
    numbers = HeardNumbers(most)
    return [numbers.shows_gap(each.encode()) for each in message_ids]


def test_what_is_sent_is_heard_without_a_gap() -> None:
    """Of several senders at a time, each with a name of its own."""
    first, second = SentNumbers(), SentNumbers()
    assert not any(hears(*(each.next() for _ in range(12) for each in (first, second))))


@pytest.mark.parametrize("then", ["a-7", "a-5", "a-4", "a-0"])
def test_any_number_but_the_next_shows_a_gap(then: str) -> None:
    """Once: the sender is followed from there on."""
    following = f"a-{int(then[2:]) + 1}"
    assert hears("a-5", "b-1", then, "b-2", following) == [False, False, True, False, False]


def test_the_first_message_of_a_sender_is_where_it_begins() -> None:
    """It may have spoken for long before this worker joined."""
    assert hears("a-500", "b-1", "a-501") == [False, False, False]


@pytest.mark.parametrize("other", ["", "5", "-5", "a-", "a-x", "a-+7", "a7"])
def test_what_has_no_number_is_not_looked_at(other: str) -> None:
    """Workers of earlier versions send none, and those to come may say something else."""
    assert hears("a-5", other, other, "a-6") == [False] * 4
    assert not HeardNumbers().shows_gap(None)


def test_few_senders_are_remembered() -> None:
    """Those that spoke last: each connection of each worker has another name."""
    assert hears("a-1", "b-1", "a-2", "c-1", "a-9", most=2)[-1]
    assert not hears("a-1", "b-1", "a-2", "c-1", "b-9", most=2)[-1]


def test_a_new_channel_begins_anew() -> None:
    """What was said between the two is in the stream."""
    numbers = HeardNumbers()
    numbers.shows_gap(b"a-1")
    numbers.forget()
    assert not numbers.shows_gap(b"a-9")
