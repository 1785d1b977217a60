"""Whether the process was away is told by two clocks."""

from idalloc_worker.service._clocks import ClockWatch


def test_a_jump_is_told_once() -> None:
    """Forward, as after a restore, or back; drift is none, however much of it adds up."""
    wall, monotonic = [1000.0], [10.0]
    watch = ClockWatch(lambda: wall[0], lambda: monotonic[0])
    for _ in range(100):
        wall[0] += 10.005
        monotonic[0] += 10.0
        assert not watch.jumped()
    wall[0] += 30
    assert round(watch.jumped()) == 30
    assert not watch.jumped()
    wall[0] -= 5
    assert round(watch.jumped()) == -5
