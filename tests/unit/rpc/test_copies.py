"""When a request is sent once more that may be lost, or not have been taken by a full queue."""

import pytest

from idalloc_client._rpc._copies import (
    BURST,
    LEAST_PATIENCE,
    MOST_COPIES,
    MOST_PATIENCE,
    Copies,
    CopyBudget,
    RoundTrip,
)

CALLS = [b"%d" % number for number in range(10)]
PATIENCE = 1.0


def budget(requests: int = 0) -> CopyBudget:
    return CopyBudget(lambda: requests)


@pytest.fixture
def copies() -> Copies:
    """Ten calls that were sent before the broker was asked, of which the first one asks."""
    made = Copies(budget(), jitter=lambda: 0.5)
    made.begin(CALLS, CALLS[0], 0.0)
    return made


def wanted(copies: Copies, now: float, calls: list[bytes] = CALLS) -> list[bytes]:
    return [call for call in calls if copies.wants(call, now, PATIENCE)]


def test_one_shows_whether_the_queue_is_full(copies: Copies) -> None:
    """Copies of all would make a long queue longer, for those who stand in it and all others."""
    assert wanted(copies, 0.1) == CALLS[:1]
    copies.told(CALLS[0], 0.2, taken=True)
    assert wanted(copies, 0.9) == []


def test_the_rest_follows_when_its_answer_is_late(copies: Copies) -> None:
    """As many at a time as the broker says that it takes."""
    wanted(copies, 0.1)
    copies.told(CALLS[0], 0.2, taken=True)
    assert wanted(copies, 1.2) == CALLS[1:3]
    assert wanted(copies, 1.3) == []


def test_each_copy_waits_twice_as_long_as_the_one_before() -> None:
    """And there are a few of one request, whatever its deadline is."""
    copies = Copies(budget(), jitter=lambda: 0.5)
    sent = []
    for tenth in range(1000):
        now = tenth / 10
        if copies.wants(b"lost", now, PATIENCE):
            copies.told(b"lost", now, taken=True)
            sent.append(now)
    assert sent == pytest.approx([1.0, 3.0, 7.0, 15.0], abs=0.25)
    assert len(sent) == MOST_COPIES


def test_copies_that_nothing_is_heard_of_do_not_hold_up_others_for_long() -> None:
    """The broker never speaks of what went to a node that is gone."""
    copies = Copies(budget(), jitter=lambda: 0.5)
    assert wanted(copies, 0.0) == []
    assert wanted(copies, 1.0) == CALLS[:1]
    assert wanted(copies, 1.9) == []
    assert wanted(copies, 2.1) == CALLS[1:2]


def test_copies_come_at_different_times() -> None:
    """Clients that lost an answer at one instant do not ask again at one instant."""
    early = Copies(budget(), jitter=lambda: 0.0)
    late = Copies(budget(), jitter=lambda: 1.0)
    for copies in (early, late):
        copies.wants(b"lost", 0.0, PATIENCE)
    assert early.wants(b"lost", 0.75, PATIENCE)
    assert not late.wants(b"lost", 1.2, PATIENCE)
    assert late.wants(b"lost", 1.25, PATIENCE)


def test_a_call_that_is_over_is_forgotten(copies: Copies) -> None:
    """So that what is kept is bounded by what is in flight."""
    wanted(copies, 0.1)
    for call in CALLS:
        copies.forget(call)
    assert (copies._due, copies._unasked) == ({}, set())


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
    """The queue is full, whoever finds it out."""
    assert not copies.told(b"another", 0.1, taken=False)
    assert copies.refused


def test_a_client_has_a_budget_that_follows_what_it_asks_for() -> None:
    """Where all of its requests are late, the load does not double."""
    requests = 0
    budget = CopyBudget(lambda: requests)
    assert sum(budget.take(0.0) for _ in range(2 * BURST)) == BURST / 10
    requests = 1000
    assert sum(budget.take(0.0) for _ in range(2 * BURST)) == 200
    assert sum(budget.take(10.0) for _ in range(2 * BURST)) == 20
    requests = 10**6
    assert sum(budget.take(20.0) for _ in range(2 * BURST)) == BURST


def test_patience_follows_the_round_trip() -> None:
    """It is bounded: before the first answer, where answers are quick, and where they are slow."""
    trip = RoundTrip()
    assert trip.patience == LEAST_PATIENCE
    for _ in range(100):
        trip.observe(0.001)
    assert trip.patience == LEAST_PATIENCE
    for _ in range(100):
        trip.observe(1.0)
    assert 1.0 <= trip.patience < 1.1
    for _ in range(100):
        trip.observe(30.0)
    assert trip.patience == MOST_PATIENCE
