"""Answers about all tags are shared by those who asked before, and by those who ask soon after."""

from collections.abc import Callable, Collection

import pytest

from idalloc_worker.health._answers import REST, SHARED, Bodies, HealthAnswers
from idalloc_worker.rights._health_rights import NOBODY, Viewer


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
    """Makes answers of three slices, each with its number; all of it takes `work` seconds."""

    def __init__(self) -> None:
        self.begun = 0
        self.work = self.worked = 0.0
        self.error: Exception | None = None

    def __call__(self, viewers: Collection[Viewer]) -> Bodies:
        self.begun += 1
        number = self.begun
        self.worked += self.work
        yield
        if self.error is not None:
            raise self.error
        yield
        return dict.fromkeys(viewers, b'{"n":%d}' % number)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def answers(loop: Loop, make: Maker) -> HealthAnswers:
    return HealthAnswers(
        make, loop.soon, loop.later, clock=lambda: loop.now, cpu=lambda: make.worked
    )


def test_who_asks_in_one_turn_shares_an_answer(
    loop: Loop, make: Maker, answers: HealthAnswers
) -> None:
    told = list[bytes | None]()
    for _ in range(500):
        answers.ask(NOBODY, told.append)
    assert not told, "nothing is made before all that was read is handled"
    loop.run()
    assert told == [b'{"n":1}'] * 500
    assert make.begun == 1


def test_nobody_is_told_what_was_before_they_asked(loop: Loop, answers: HealthAnswers) -> None:
    """Who comes while an answer is made shares the next one."""
    told = list[bytes | None]()
    answers.ask(NOBODY, told.append)
    loop.turn()
    answers.ask(NOBODY, told.append)
    answers.ask(NOBODY, told.append)
    loop.run()
    assert told == [b'{"n":1}', b'{"n":2}', b'{"n":2}']


def test_what_takes_long_is_told_again_with_its_age(
    loop: Loop, make: Maker, answers: HealthAnswers
) -> None:
    """For as long as the worker rests after it, and a second at most."""
    make.work, told = 0.02, list[bytes | None]()
    answers.ask(NOBODY, told.append)
    loop.run()
    loop.now += 0.25
    answers.ask(NOBODY, told.append)
    assert told == [b'{"n":1}', b'{"n":1,"age_ms":250}']
    make.work = 0.0
    loop.now += REST * 0.02 - 0.25
    answers.ask(NOBODY, told.append)
    loop.run()
    assert told[2:] == [b'{"n":2}']


@pytest.mark.parametrize("work", [0.02, 1.0])
def test_questions_take_a_small_part_of_the_time(
    loop: Loop, make: Maker, answers: HealthAnswers, work: float
) -> None:
    """However many come, and though no two ask for the same."""
    make.work, told = work, list[bytes | None]()
    for number in range(2000):
        answers.ask(Viewer(f"user-{number}"), told.append)
        loop.run()
        loop.now += 0.005
    assert make.begun <= 10.0 / min(REST * work, SHARED) + 1
    loop.now += SHARED
    loop.run()
    assert len(told) == 2000


def test_who_asks_while_an_answer_is_made_waits_for_the_rest(
    loop: Loop, make: Maker, answers: HealthAnswers
) -> None:
    make.work, told = 0.02, list[bytes | None]()
    answers.ask(NOBODY, told.append)
    loop.turn()
    answers.ask(NOBODY, told.append)
    loop.run()
    assert (make.begun, len(told)) == (1, 1)
    loop.now += REST * 0.02
    loop.run()
    assert told == [b'{"n":1}', b'{"n":2}']


def test_who_is_told_something_else_is_not_told_this(
    loop: Loop, make: Maker, answers: HealthAnswers
) -> None:
    """What is shared was made for the same rights."""
    make.work, told = 0.02, list[bytes | None]()
    answers.ask(Viewer("operator", operator=True), told.append)
    loop.run()
    answers.ask(NOBODY, told.append)
    loop.run()
    assert len(told) == 1
    loop.now += SHARED
    loop.run()
    assert told[1:] == [b'{"n":2}']


def test_an_answer_that_fails_keeps_nobody_waiting(
    loop: Loop, make: Maker, answers: HealthAnswers
) -> None:
    told = list[bytes | None]()
    make.error = ZeroDivisionError()
    answers.ask(NOBODY, told.append)
    loop.run()
    make.error = None
    answers.ask(NOBODY, told.append)
    loop.run()
    assert told == [None, b'{"n":2}']


def test_a_stop_waits_for_those_who_asked(loop: Loop, make: Maker, answers: HealthAnswers) -> None:
    """And does not rest for it."""
    make.work, told = 0.02, list[bytes | None]()
    answers.when_idle(lambda: told.append(b"idle at once"))
    answers.ask(NOBODY, told.append)
    loop.run()
    answers.ask(Viewer("another"), told.append)
    answers.when_idle(lambda: told.append(b"idle"))
    loop.run()
    assert told == [b"idle at once", b'{"n":1}', b'{"n":2}', b"idle"]
