"""The engine where two rules meet."""

from idalloc_schemas import RespCode, TagState
from idalloc_worker.engine._effects import Refused
from idalloc_worker.engine._engine import EngineLimits
from tests.engine_driver import EXHAUSTED, Driver, Row

INTERNAL = Refused(RespCode.INTERNAL, "bad row")


def driver(step: int = 100, **limits: int) -> Driver:
    return Driver(EngineLimits(**limits), rows={"order": Row(step)})


def test_a_batch_beyond_the_limit_is_refused_even_if_the_ids_are_held() -> None:
    """The limit does not depend on what is in memory."""
    play = driver(100_000, max_count=500)
    play.get()
    assert play.ask(count=501).code is RespCode.INVALID_REQUEST
    assert play.ask(count=500).ranges == ((2, 502),)


def test_giving_up_serves_those_whose_ids_are_held() -> None:
    """A small request behind a batch that cannot be served is not refused with it."""
    for failed in (True, False):
        play = driver(10)
        play.get()
        batch, small = play.ask(count=50), play.ask()
        if failed:
            play.fail_all(4)
        else:
            play.refuse(EXHAUSTED)
        assert batch.code in (RespCode.NO_AVAILABLE_ID, RespCode.EXHAUSTED)
        assert small.id == 2


def test_an_empty_segment_is_a_failure() -> None:
    """It is retried with a pause, not at once and for ever."""
    play = driver()
    play.ask()
    for _ in range(10):
        if play.refills:
            play.arrive(0, 0)
    assert len(play.started) == 1


def test_a_row_that_came_back_is_cold_not_missing() -> None:
    """A refusal ends with its time, also for those who only look."""
    play = driver(5)
    play.get()
    play.ask(count=4)
    del play.rows["order"]
    play.reserve()
    assert isinstance(play.engine.health(play.now, "order"), Refused)
    play.advance(10)
    assert play.health().state is TagState.COLD


def test_a_bad_row_is_not_cold() -> None:
    """A tag that was refused before it ever had a segment says why."""
    play = driver()
    play.ask()
    play.refuse(INTERNAL)
    assert play.health().state is TagState.REFUSED
    assert play.health().last_error == "bad row"


def test_the_time_to_retry_after_runs_out() -> None:
    """What an unknown tag's callers are told gets shorter, and the backoff goes on growing."""
    play = driver()
    play.ask()
    play.fail_all(4)
    first = play.ask().refusal.retry_after
    play.advance(0.2)
    second = play.ask().refusal.retry_after
    assert first is not None
    assert second is not None
    assert second < first
    play.advance(2)
    play.ask()
    play.fail_all(1)  # one more failure, not four, before callers are told again
    assert play.ask().code is RespCode.NO_AVAILABLE_ID
