"""When a message may have aged where nobody saw it."""

from idalloc_worker.requests._stalls import BEAT, StallGuard


def beating(guard: StallGuard, start: float, seconds: float) -> float:
    """Let the thread run as it should."""
    now = start
    while now < start + seconds:
        now += BEAT
        guard.beat(now)
    return now


def test_a_running_thread_trusts_its_clock() -> None:
    """Without a stall even a short deadline counts from delivery."""
    guard = StallGuard(0)
    now = beating(guard, 0, 5)
    assert not guard.may_be_dead(now + 0.001, now + 0.01)


def test_what_came_during_a_stall_is_doubted() -> None:
    """A message that was to live no longer than the stall may be dead; a longer one is not."""
    guard = StallGuard(0)
    stopped = beating(guard, 0, 1)
    now = stopped + 10
    assert guard.may_be_dead(now + 5, now)
    assert not guard.may_be_dead(now + 30, now)


def test_the_doubt_outlives_the_first_beat() -> None:
    """What had piled up is not all read in one turn."""
    guard = StallGuard(0)
    stopped = beating(guard, 0, 1)
    now = stopped + 10
    guard.beat(now)
    assert guard.may_be_dead(now + 0.2 + 5, now + 0.2)


def test_the_doubt_ends() -> None:
    """Some time after the stall, deadlines count from delivery again."""
    guard = StallGuard(0)
    stopped = beating(guard, 0, 1)
    now = beating(guard, stopped + 10, 2)
    assert not guard.may_be_dead(now + 0.1, now)
