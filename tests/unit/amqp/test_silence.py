"""A broker that says nothing any more is told from one that is slow, and from a frozen client."""

import pytest

from idalloc_client.amqp._silence import SilenceWatch


@pytest.mark.parametrize(("heartbeat", "looks"), [(1, 2), (6, 9), (15, 23)])
def test_one_and_a_half_heartbeats_of_silence_are_too_many(heartbeat: int, looks: int) -> None:
    """A broker that sends its heartbeats only just is well."""
    watch = SilenceWatch(heartbeat)
    assert not watch.silent(100)
    assert [watch.silent(100) for _ in range(looks)] == [False] * (looks - 1) + [True]


def test_whatever_comes_starts_the_count_anew() -> None:
    """A heartbeat is eight bytes, and counts as much as replies do."""
    watch = SilenceWatch(6)
    for received in range(0, 800, 8):
        assert not any(watch.silent(received) for _ in range(9))
