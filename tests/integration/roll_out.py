"""A roll-out: callers of the old system and of idalloc at the same time, and what all got."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from itertools import count
from typing import Self

import pytest

from devstack import Database
from devstack.history import Reply, check
from devstack.workers import Fleet
from idalloc_client import IdClient
from tests.guide import Section
from tests.integration.stores import Background
from tests.integration.test_tags_command import Idalloc
from tests.old_systems import OldNode
from tests.waiting import wait_until

TAG = "order"
ENOUGH = 100
"""Replies to each who draws in each stage: several segments of the old nodes."""
PAUSE = 0.0005  # seconds between two of them, so that nobody keeps the processor from the others


class Drawer:
    """Draws ids in a thread until it is told to stop."""

    def __init__(self, draw: Callable[[], Reply], replies: list[Reply]) -> None:
        self._draw = draw
        self._replies = replies
        self._stop = threading.Event()
        self.drawn = 0
        self.failed = False
        self._thread = Background(self._run)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._replies.append(self._draw())
                self.drawn += 1
                time.sleep(PAUSE)
        except BaseException:
            self.failed = True
            raise

    def join(self, error: type[Exception]) -> None:
        """Wait until it ends by itself with such an error."""
        with pytest.raises(error):
            self._thread.join()

    def give_up(self) -> None:
        """End it when it next looks; what it met does not matter."""
        self._stop.set()

    def stop(self) -> None:
        """End it, and raise what it met."""
        self._stop.set()
        self._thread.join()


class RollOut:
    """Callers of both systems at the same time, and what all of them got."""

    def __init__(self, fleet: Fleet, database: Database) -> None:
        self.fleet = fleet
        self.idalloc = Idalloc(database.url)
        self.replies: list[Reply] = []
        self.resources = ExitStack()
        """What is closed when nobody draws any more."""
        self._names = (f"caller-{number}" for number in count())
        self._drawing: list[Drawer] = []

    def start(self, *draws: Callable[[], Reply]) -> list[Drawer]:
        """Have each draw ids from now on."""
        started = [Drawer(draw, self.replies) for draw in draws]
        self._drawing += started
        return started

    def start_nodes(self, nodes: Sequence[OldNode]) -> list[Drawer]:
        """Have the old system hand out ids."""
        for node in nodes:
            self.resources.enter_context(closing(node))
        return self.start(*(node.draw for node in nodes))

    def move_callers(self, number: int = 2) -> list[Drawer]:
        """Have callers draw from idalloc."""
        client = self.resources.enter_context(IdClient(self.fleet.amqp_url))
        return self.start(*(self.caller(client) for _ in range(number)))

    def go_on(self) -> None:
        """Wait until everybody who draws has got enough ids more."""
        goals = [(drawer, drawer.drawn + ENOUGH) for drawer in self._drawing]
        wait_until(lambda: all(one.failed or one.drawn >= goal for one, goal in goals))
        for drawer in self._drawing:
            if drawer.failed:
                drawer.stop()

    def stop(self, drawers: list[Drawer]) -> None:
        """End some, as if all who used them had moved."""
        for drawer in drawers:
            drawer.stop()
            self._drawing.remove(drawer)

    def judge(self) -> None:
        """End everybody, and look at all ids together."""
        self.stop([*self._drawing])
        check(self.replies).assert_clean()

    def expect_end(self, drawer: Drawer, error: type[Exception]) -> None:
        """Wait until one ends by itself with such an error."""
        drawer.join(error)
        self._drawing.remove(drawer)

    def do(self, section: Section, **values: object) -> None:
        """Run the commands that a section shows."""
        for arguments in section.commands(**values):
            self.idalloc.ok(*arguments)

    def caller(self, client: IdClient) -> Callable[[], Reply]:
        """Make a caller of idalloc's, which takes seven ids at a time."""
        name = next(self._names)

        def draw() -> Reply:
            sent_at = time.monotonic()
            batch = client.next_ids(TAG, 7, timeout=20)
            return Reply(TAG, batch.ranges, batch.worker, name, sent_at, time.monotonic())

        return draw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for drawer in self._drawing:
            drawer.give_up()
        self.resources.close()
