"""Counts by user are bounded, whatever the users are called and however many there are."""

from idalloc_worker.counters._user_counts import MOST_USERS, NOBODY, OTHERS, UserCounts


def test_users_are_counted_apart() -> None:
    """And those whom nobody vouches for together."""
    counts = UserCounts()
    for user in ("shop", None, "shop"):
        counts.add(user)
    assert counts.by_user() == {"shop": 2, NOBODY: 1}


def test_there_are_not_too_many() -> None:
    """The rest is counted together; a name is cut where it is very long."""
    counts = UserCounts()
    for number in range(1000):
        counts.add(f"user-{number}")
    counts.add("user-1")
    counts.add("x" * 255)
    found = counts.by_user()
    assert len(found) == MOST_USERS + 1
    assert found["user-1"] == 2
    assert found[OTHERS] == 1000 - MOST_USERS + 1
    assert max(map(len, found)) <= 64
