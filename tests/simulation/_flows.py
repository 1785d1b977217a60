"""Things that happen in an order, each line of them at a speed of its own."""

from collections import deque
from collections.abc import Callable

from tests.simulation._choices import Choices

Callback = Callable[[], None]


SLOW = 25
"""Of a hundred lines so many are slow."""


class Flows:
    """All lines in which something waits to happen; `active` is to be read only."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.active: list[Flow] = []

    def start(self, flow: "Flow") -> None:
        """Note that something waits in a line."""
        flow.place = len(self.active)
        self.active.append(flow)

    def end(self, flow: "Flow") -> None:
        """Note that nothing waits in a line any more."""
        last = self.active.pop()
        if last is not flow:
            self.active[flow.place] = last
            last.place = flow.place
        flow.place = -1


class Flow:
    """First in, first out, whenever the schedule says so."""

    __slots__ = ("_flows", "held", "items", "place", "slow")

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self.items: deque[Callback] = deque()
        self.place = -1
        self.held = False
        self.slow = flows.choices.chance(SLOW)

    def push(self, callback: Callback) -> None:
        """Let something happen after all else in this line."""
        self.items.append(callback)
        if self.place < 0 and not self.held:
            self._flows.start(self)

    def run(self) -> None:
        """Let the next thing happen."""
        callback = self.items.popleft()
        if not self.items:
            self._flows.end(self)
        callback()

    def clear(self) -> None:
        """Let nothing of it happen."""
        self.items.clear()
        if self.place >= 0:
            self._flows.end(self)

    def hold(self, *, held: bool) -> None:
        """Let nothing happen until it is let go on."""
        self.held = held
        if held and self.place >= 0:
            self._flows.end(self)
        elif not held and self.items and self.place < 0:
            self._flows.start(self)
