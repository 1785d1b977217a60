"""The engine and ordered tags: what it drops, and that it never refills by itself afterwards."""

from itertools import count

import pytest

from idalloc_schemas import RespCode
from idalloc_worker.engine._effects import REDIRECTED, Redirected
from idalloc_worker.engine._engine import Engine
from idalloc_worker.ordered._ordered_engine import OrderedEngine
from tests.engine_driver import Driver, OwnerDriver, Row


def driver() -> Driver:
    return Driver(rows={"order": Row(10)})


def owner_driver() -> OwnerDriver:
    return OwnerDriver(rows={"order": Row(10)})


def adds_up(d: Driver) -> bool:
    tag = d.health()
    return tag.ids_reserved == tag.ids_handed_out + tag.ids_lost + tag.left


def test_a_generation_leaves_nothing_behind() -> None:
    """After its end the next request gets ids above all that was held, which are counted lost."""
    d = owner_driver()
    assert d.get().id == 1
    d.engine.void()
    assert (d.health().left, d.health().ids_lost) == (0, 18)
    assert not d.refills
    assert d.get().id == 20
    assert adds_up(d)


def test_a_refill_of_an_earlier_generation_is_void() -> None:
    """What it brings, however late, is lost, and it does not stand in for a new one."""
    d = owner_driver()
    old = d.ask()
    d.engine.void()
    assert old.waiting  # its channel is gone: there is nobody to answer
    new = d.ask()
    assert len(d.refills) == 2
    assert not d.reserve()
    assert new.waiting
    assert d.reserve()
    assert new.id == 10
    d.settle()
    assert old.waiting
    assert adds_up(d)


@pytest.mark.parametrize("failures", [1, 3])
def test_nothing_is_reserved_between_generations(failures: int) -> None:
    """A retry that was due when the generation ended does not happen: nobody may own the tag."""
    d = owner_driver()
    d.get()
    d.ask(count=19)
    d.ask()
    d.fail_all(failures)
    d.ask()
    d.engine.void()
    d.refills.clear()
    started = len(d.started)
    d.advance(60)
    assert len(d.started) == started
    assert not d.engine.effects()


def test_an_unknown_tag_is_forgotten_with_its_generation() -> None:
    """Names that somebody made up do not stay in memory."""
    d = owner_driver()
    d.ask("made-up")
    d.engine.void()
    assert not d.engine.by_tag
    d.settle()
    assert not d.engine.by_tag


def test_a_tag_that_became_ordered_is_served_no_longer() -> None:
    """Its ids in memory are lost, and whoever waits is sent to the owner."""
    d = driver()
    d.get()
    assert d.ask(count=17).ranges
    waiting = d.ask(count=2)
    assert waiting.waiting
    d.engine.redirect("order", d.now)
    d._collect()
    assert isinstance(waiting.outcome, Redirected)
    assert d.health().left == 0
    d.settle()  # the refill in flight brings a segment, which is too late
    assert d.health().left == 0
    assert adds_up(d)


def test_a_row_that_says_ordered_sends_everybody_to_the_owner() -> None:
    """Also where ids are still in memory: they are not handed out any more."""
    d = driver()
    d.ask()
    d.reserve()
    assert d.health().left == 8
    d.refuse(REDIRECTED)
    assert d.health().left == 0
    assert isinstance(d.ask().outcome, Redirected)
    cold = Driver(rows={"order": Row(10)})
    waiting = cold.ask()
    cold.refuse(REDIRECTED)
    assert isinstance(waiting.outcome, Redirected)


def test_engines_that_share_refill_threads_share_their_numbers() -> None:
    """A report finds its engine by what the refill says, and never another one's attempt."""
    attempts = count(1)
    plain, owner = Driver(), OwnerDriver()
    plain.engine = Engine(plain.limits, attempts=attempts)
    owner.engine = OrderedEngine(owner.limits, attempts=attempts)
    plain.ask()
    owner.ask()
    assert [(r.attempt, r.ordered) for r in plain.refills + owner.refills] == [
        (1, False),
        (2, True),
    ]


def test_an_owner_that_stops_refuses_who_waits() -> None:
    """Its service hands them back: the next owner answers them."""
    d = owner_driver()
    waiting = d.ask()
    d.close()
    assert waiting.code is RespCode.SHUTTING_DOWN
