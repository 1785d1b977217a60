"""When a request is sent once more that a full queue may not have taken."""

import pytest

from idalloc_client._rpc._copies import Copies

CALLS = [b"%d" % number for number in range(10)]


@pytest.fixture
def copies() -> Copies:
    """Ten calls with ten seconds each, of which the first one asks."""
    made = Copies()
    made.begin(dict.fromkeys(CALLS, 10.0), CALLS[0], 0.0)
    return made


def wanted(copies: Copies, now: float) -> list[bytes]:
    return [call for call in CALLS if copies.wants(call, now)]


def test_one_shows_whether_the_queue_is_full(copies: Copies) -> None:
    """Copies of all would make a long queue longer, for those who stand in it and all others."""
    assert wanted(copies, 0.1) == CALLS[:1]
    copies.told(CALLS[0], 0.2, taken=True)
    assert wanted(copies, 4.9) == []


def test_the_rest_follows_when_half_of_its_time_is_over(copies: Copies) -> None:
    wanted(copies, 0.1)
    copies.told(CALLS[0], 0.2, taken=True)
    assert wanted(copies, 5.0) == CALLS[1:3]


def test_once_one_was_refused_they_follow_as_fast_as_they_are_taken(copies: Copies) -> None:
    """One by one while the queue is full, then twice as many with each that is taken."""
    wanted(copies, 0.1)
    assert copies.told(CALLS[0], 0.2, taken=False)
    assert wanted(copies, 0.25) == []
    assert wanted(copies, 0.35) == CALLS[:1]
    copies.told(CALLS[0], 0.35, taken=True)
    assert wanted(copies, 0.35) == CALLS[1:3]
    for call in CALLS[1:3]:
        copies.told(call, 0.4, taken=True)
    assert wanted(copies, 0.4) == CALLS[3:]


def test_a_refusal_of_what_is_no_copy_tells_the_same(copies: Copies) -> None:
    assert not copies.told(b"another", 0.1, taken=False)
    assert copies.refused
