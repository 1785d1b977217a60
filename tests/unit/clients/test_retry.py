"""When a call that was refused is asked again, and what it is told at last."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_client import (
    BusyError,
    CallTimeoutError,
    ConnectionLostError,
    IdAllocError,
    NoAvailableIdError,
    QueueFullError,
    RefusedError,
    ShuttingDownError,
)
from idalloc_client._errors import refused
from idalloc_client._retry import LAST_CHANCE, SHORTEST, Refusals, can_pass, overdue_after
from idalloc_schemas import ErrorReply, RespCode

FOREVER = float("inf")


def answer(code: RespCode, retry_after_ms: int | None = 100) -> RefusedError:
    return refused(ErrorReply(resp_code=code, msg="no", retry_after_ms=retry_after_ms), "order")


def after(times: int, error: IdAllocError) -> Refusals:
    refusals = None
    for now in range(times):
        refusals = Refusals.after(refusals, error, float(now))
    assert refusals is not None
    return refusals


@pytest.mark.parametrize("code", [code for code in RespCode if code is not RespCode.SUCCESS])
def test_what_can_pass(code: RespCode) -> None:
    """An answer that says when to ask again, or that another worker may answer; no other one."""
    passing = {RespCode.NO_AVAILABLE_ID, RespCode.BUSY, RespCode.SHUTTING_DOWN}
    assert can_pass(answer(code)) == (code in passing)
    assert can_pass(answer(code, None)) == (code is RespCode.SHUTTING_DOWN)
    assert can_pass(QueueFullError())
    assert not can_pass(CallTimeoutError("late"))


@given(
    times=st.integers(1, 1000),
    asked_for=st.integers(0, 100_000),
    jitter=st.floats(0, 1, exclude_max=True),
    remaining=st.floats(0, 1000),
)
def test_a_pause_is_long_enough_and_ends_in_time(
    times: int, asked_for: int, jitter: float, remaining: float
) -> None:
    """As long as the answer says, 0.1 s at least, a second and a half at most where it does not.

    Who has less time rests for a part of it, down to the last twentieth of a second.
    """
    error = answer(RespCode.BUSY, asked_for)
    refusals = Refusals(error, times, 0.0, 1.0)
    pause = refusals.pause(remaining, jitter)
    wanted = refusals.pause(FOREVER, jitter)
    assert wanted is not None
    assert max(asked_for / 1000, SHORTEST) <= wanted.earliest < wanted.latest
    assert wanted.latest <= 1.5 * max(1.0, asked_for / 1000)
    if pause is None:
        assert remaining <= LAST_CHANCE
    elif pause != wanted:
        assert pause.earliest < pause.latest == remaining / 2 < wanted.latest + LAST_CHANCE


def test_pauses_grow() -> None:
    """So that an outage is not hammered at: about 1 s after the fourth answer."""
    error = answer(RespCode.NO_AVAILABLE_ID)
    pauses = [after(times, error).pause(FOREVER, 0.0) for times in range(1, 7)]
    assert [pause.earliest for pause in pauses if pause] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_clients_do_not_come_back_in_step() -> None:
    """The jitter moves the pause by four tenths of it."""
    early, late = (after(1, answer(RespCode.BUSY, 1000)).pause(FOREVER, j) for j in (0.0, 0.999))
    assert early is not None
    assert late is not None
    assert late.latest - early.latest > 0.39


def test_what_is_told_at_last() -> None:
    """The last answer's class, words and fields, how often it came, and itself as the cause."""
    first, last = answer(RespCode.BUSY), answer(RespCode.NO_AVAILABLE_ID, 700)
    refusals = Refusals.after(Refusals.after(None, first, 1.0), last, 3.5)
    told = refusals.at_last()
    assert type(told) is NoAvailableIdError
    assert str(told) == "no (app_tag 'order'); refused 2 times in 2.5 s"
    assert (told.code, told.msg, told.app_tag, told.retry_after) == (-1, "no", "order", 0.7)
    assert told.__cause__ is last
    assert str(after(1, first).at_last()) == "no (app_tag 'order'); refused once"


def test_at_the_deadline_an_answer_says_more_than_that_none_came() -> None:
    """But a connection that is lost, or a queue that is full, is news."""
    refusals = after(2, answer(RespCode.BUSY))
    late = CallTimeoutError("late")
    assert type(overdue_after(refusals, late)) is BusyError
    assert overdue_after(None, late) is late
    for news in (ConnectionLostError("lost"), QueueFullError()):
        assert overdue_after(refusals, news) is news


def test_a_worker_that_leaves_need_not_say_when() -> None:
    """Another one takes the request."""
    pause = after(1, ShuttingDownError(ErrorReply(resp_code=-7, msg=""))).pause(FOREVER, 0.0)
    assert pause is not None
    assert pause.earliest == SHORTEST
