"""Ids taken without a call are those that the engine gives when it looks at each request."""

from math import inf
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import invariant, rule

from idalloc_schemas import RespCode
from idalloc_worker.engine._effects import Answer
from idalloc_worker.engine._engine import Engine
from idalloc_worker.engine._pool import Waiter
from tests.engine_driver import Driver, Row
from tests.unit.engine.test_engine_properties import LIMITS, TAGS, EngineMachine


class LookingEngine(Engine):
    """Looks at each request before it may take."""

    def take(
        self,
        app_tag: str,
        count: int,
        now: float,
        *,
        token: object = None,
        deadline: float = inf,
        user: str | None = None,
    ) -> Answer | None:
        """Answer as `Engine.take`."""
        pool = self._pools.get(app_tag)
        if (
            pool is not None
            and self._may_take(pool, count, user)
            and not pool.debt(user, count, now)
        ):
            ranges = pool.draw(user, count, now)
            self._refill_if_wanted(pool, now)
            return ranges
        return self._take_slowly(app_tag, Waiter(token, count, deadline, user), now)


class Both:
    """Has two engines do the same, and compares what comes of it."""

    def __init__(self) -> None:
        self._engine = Engine(LIMITS, jitter=lambda: 0.5)
        self._other = LookingEngine(LIMITS, jitter=lambda: 0.5)

    def __getattr__(self, name: str) -> Any:
        mine, others = getattr(self._engine, name), getattr(self._other, name)
        if not callable(mine) or name == "pools":  # the rules only look at these
            return mine

        def do_both(*args: Any, **kwargs: Any) -> Any:
            result = mine(*args, **kwargs)
            assert result == others(*args, **kwargs)
            return result

        return do_both

    def compare(self) -> None:
        """Compare what both hold of each tag, and when they want to be woken."""
        assert self._engine.next_wakeup == self._other.next_wakeup
        assert _state(self._engine) == _state(self._other)


def _state(engine: Engine) -> dict[str, tuple[object, ...]]:
    return {
        pool.app_tag: (
            *(list(pool.held()), pool.remaining, pool.handed_out, pool.lost, pool.reserved),
            *(pool.given_back, pool.waiters, pool.full, pool.attempt, pool.wants_refill),
        )
        for pool in engine.by_tag.values()
    }


class ShortcutMachine(EngineMachine):
    """The engine's machine, with both; and tags that turn out to be ordered meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.both = Both()
        self.engine: Any = self.both

    @rule()
    def all_tags_are_ordered_for_a_moment(self) -> None:
        self.abandoned.update(self.started)
        for app_tag in TAGS:
            self.engine.redirect(app_tag, self.now)
        self._collect()

    @invariant()
    def both_hold_the_same(self) -> None:
        self.both.compare()


TestShortcut = ShortcutMachine.TestCase
TestShortcut.settings = hypothesis_settings(max_examples=100, stateful_step_count=60, deadline=None)


def test_a_tag_that_is_reserved_to_some_while_it_is_served() -> None:
    """Once the worker has heard of it, nobody else takes what is in memory."""
    driver = Driver(rows={"order": Row(step=10)})
    driver.get(user="intruder")
    driver.rows["order"].users = "shop"
    while driver.ask(user="shop") and not driver.refills:
        pass
    driver.settle()
    assert driver.ask(user="intruder").code is RespCode.FORBIDDEN
    assert driver.ask(user="shop").ranges
