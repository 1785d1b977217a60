"""Answers about all tags are shared by those who asked before, and paced."""

from collections.abc import Callable, Generator

import pytest

from idalloc_schemas import HealthCall
from idalloc_worker._health_answers import HealthAnswers
from idalloc_worker._health_calls import AT_A_TIME, MOST_WAITING, PATIENCE, HealthCalls


class Loop:
    """Runs callbacks when told to; time passes only here."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        self.later(0.0, callback)

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        self.due.append((self.now + delay, callback))

    def turn(self) -> bool:
        """Run what is due; whether anything was."""
        ready = [callback for at, callback in self.due if at <= self.now]
        self.due = [(at, callback) for at, callback in self.due if at > self.now]
        for callback in ready:
            callback()
        return bool(ready)

    def run(self) -> None:
        while self.turn():
            pass


class Maker:
    """Makes answers of three slices, each with its number."""

    def __init__(self) -> None:
        self.begun = 0
        self.error: Exception | None = None

    def __call__(self) -> Generator[None, None, bytes]:
        self.begun += 1
        number = self.begun
        yield
        if self.error is not None:
            raise self.error
        yield
        return b"%d" % number


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def make() -> Maker:
    return Maker()


def test_who_asks_in_one_turn_shares_an_answer(loop: Loop, make: Maker) -> None:
    answers, told = HealthAnswers(make, loop.soon, loop.later), list[bytes | None]()
    for _ in range(500):
        answers.ask(told.append)
    assert not told, "nothing is made before all that was read is handled"
    loop.run()
    assert told == [b"1"] * 500
    assert make.begun == 1


def test_nobody_is_told_what_was_before_they_asked(loop: Loop, make: Maker) -> None:
    """Who comes while an answer is made shares the next one."""
    answers, told = HealthAnswers(make, loop.soon, loop.later), list[bytes | None]()
    answers.ask(told.append)
    loop.turn()
    answers.ask(told.append)
    answers.ask(told.append)
    loop.run()
    assert told == [b"1", b"2", b"2"]


def test_an_answer_that_fails_keeps_nobody_waiting(loop: Loop, make: Maker) -> None:
    answers, told = HealthAnswers(make, loop.soon, loop.later), list[bytes | None]()
    make.error = ZeroDivisionError()
    answers.ask(told.append)
    loop.run()
    make.error = None
    answers.ask(told.append)
    loop.run()
    assert told == [None, b"2"]


def test_a_stop_waits_for_those_who_asked(loop: Loop, make: Maker) -> None:
    answers, told = HealthAnswers(make, loop.soon, loop.later), list[bytes | None]()
    answers.when_idle(lambda: told.append(b"idle at once"))
    answers.ask(told.append)
    answers.when_idle(lambda: told.append(b"idle"))
    loop.run()
    assert told == [b"idle at once", b"1", b"idle"]


# Who asks the whole fleet


class Channel:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.confirms: list[Callable[[], None]] = []

    def send(self, call: HealthCall, _body: bytes, on_confirmed: Callable[[], None]) -> None:
        self.sent.append(call.reply_to)
        self.confirms.append(on_confirmed)

    def confirm(self) -> None:
        confirms, self.confirms = self.confirms, []
        for confirmed in confirms:
            confirmed()


def call(number: int) -> HealthCall:
    return HealthCall(worker="w", reply_to=f"r{number}", correlation_id=None, app_tag=None)


def calls_of(loop: Loop, make: Maker, channel: Channel) -> HealthCalls:
    answers = HealthAnswers(make, loop.soon, loop.later)
    return HealthCalls(answers, channel.send, loop.later, lambda: loop.now)


def test_a_flood_of_calls_is_answered_a_few_at_a_time(loop: Loop, make: Maker) -> None:
    """The next ones follow when the broker has the answers to those before."""
    channel = Channel()
    calls = calls_of(loop, make, channel)
    for number in range(500):
        calls.take(call(number))
    loop.run()
    assert channel.sent == ["r0"]
    while channel.confirms:
        channel.confirm()
        loop.run()
        assert len(channel.confirms) <= AT_A_TIME
    assert len(channel.sent) == len(set(channel.sent)) == 1 + MOST_WAITING


def test_calls_that_waited_too_long_are_dropped(loop: Loop, make: Maker) -> None:
    """Nor does a channel that was lost keep those who come later waiting."""
    channel = Channel()
    calls = calls_of(loop, make, channel)
    for number in range(AT_A_TIME + 5):
        calls.take(call(number))
    loop.run()
    lost = channel.confirms
    channel.confirms = []
    loop.now += PATIENCE
    calls.take(call(99))
    loop.run()
    assert channel.sent == ["r0", "r99"]
    for confirmed in lost:
        confirmed()  # too late to mean anything
    calls.take(call(100))
    loop.run()
    assert channel.sent[-1] == "r99", "one batch at a time"
    channel.confirm()
    loop.run()
    assert channel.sent[-1] == "r100"
