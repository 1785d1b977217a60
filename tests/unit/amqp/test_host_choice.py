"""The choice among database hosts: order, rest, and staying where it works."""

from dataclasses import dataclass
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from idalloc_client.amqp._host_choice import FIRST_REST, LATELY, LONGEST_REST, HostChoice


def full_jitter() -> float:
    return 1.0


def test_hosts_are_tried_in_the_order_given() -> None:
    """As long as nothing is known of them, the first one is the best."""
    assert HostChoice(3).order(0.0) == (0, 1, 2)


def test_the_host_in_use_stays_in_use() -> None:
    """Neither a preferred host that comes back nor one that works as well takes its place."""
    choice = HostChoice(3)
    choice.failed(0, 0.0, 0.0)
    assert choice.worked(1, 0.0)
    assert not choice.worked(0, 5.0)
    assert not choice.worked(2, 5.0)
    assert choice.current == 1
    assert choice.order(5.0) == (1, 0, 2)


def test_a_host_that_came_back_is_used_again() -> None:
    """Once the one in use fails, the preferred one is next if it is well."""
    choice = HostChoice(2)
    choice.failed(0, 0.0, 0.0)
    choice.worked(1, 0.0)
    choice.failed(1, LATELY, LATELY)
    assert choice.order(LATELY) == (0,)
    assert choice.worked(0, LATELY)


def test_a_host_that_failed_lately_comes_after_the_others() -> None:
    """It has lost its place for a while, not for ever."""
    choice = HostChoice(3, full_jitter)
    choice.failed(0, 0.0, 0.0)
    assert choice.order(FIRST_REST) == (1, 2, 0)
    assert choice.order(LATELY - 0.1) == (1, 2, 0)
    assert choice.order(LATELY) == (0, 1, 2)


def test_rests_double_up_to_a_limit() -> None:
    """A host that goes on failing is asked ever more seldom, once a second in the end."""
    choice = HostChoice(1, full_jitter)
    now = 0.0
    for rest in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        choice.failed(0, now, now)
        assert choice.order(now + rest - 0.01) == ()
        now += rest + 0.01
        assert choice.order(now) == (0,)


def test_failures_side_by_side_count_once() -> None:
    """Threads that met the same outage do not lengthen the rest, nor undo a success since."""
    choice = HostChoice(1, full_jitter)
    for ended in (1.0, 1.1, 1.2):
        choice.failed(0, 0.5, ended)
    assert choice.order(1.0 + FIRST_REST) == (0,)
    choice.worked(0, 2.0)
    choice.failed(0, 1.9, 2.1)
    assert choice.current == 0


# Writes


def test_a_host_that_refuses_writes_rests_though_its_login_works() -> None:
    """Ever longer, until it has taken a write: only that proves that it does."""
    choice = HostChoice(1, full_jitter)
    now = 0.0
    for rest in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        choice.worked(0, now)
        assert choice.refused(0, now, now)
        assert choice.current is None
        assert not choice.in_use(0)
        assert choice.order(now + rest - 0.01) == ()
        now += rest + 0.01
        assert choice.order(now) == (0,)
    choice.worked(0, now)
    choice.wrote(0, now)
    choice.refused(0, now, now)
    assert choice.order(now + FIRST_REST) == (0,)


def test_a_host_that_refused_writes_comes_after_one_that_did_not() -> None:
    """Also while its login works, and nobody else is in use."""
    choice = HostChoice(2, full_jitter)
    choice.worked(0, 0.0)
    choice.refused(0, 0.0, 0.0)
    choice.worked(0, 5.0)
    choice.failed(0, 6.0, 6.0)
    assert choice.order(LATELY - 1) == (1, 0)


def test_writes_that_hang_twice_in_a_row_are_a_refusal() -> None:
    """One that is answered in between starts the count anew."""
    choice = HostChoice(2, full_jitter)
    choice.worked(0, 0.0)
    assert not choice.stalled(0, 1.0, 3.0)
    choice.wrote(0, 4.0)
    assert not choice.stalled(0, 5.0, 7.0)
    assert choice.current == 0
    assert choice.stalled(0, 8.0, 10.0)
    assert choice.current is None


def test_writes_that_hang_side_by_side_count_once() -> None:
    """Threads that met the same hitch, each with a write of its own."""
    choice = HostChoice(2, full_jitter)
    choice.worked(0, 0.0)
    assert not any(choice.stalled(0, 1.0, ended) for ended in (3.0, 3.1, 3.2))
    assert choice.current == 0
    choice.refused(0, 4.0, 4.0)
    choice.worked(0, 5.0)
    choice.wrote(0, 5.0)
    assert not choice.refused(0, 4.5, 5.5)
    assert choice.current == 0


def test_a_lock_counts_only_after_a_write_that_hung() -> None:
    """It may be the lock of that one; else it is somebody's, on one row."""
    choice = HostChoice(2, full_jitter)
    choice.worked(0, 0.0)
    assert not any(choice.locked_out(0, now, now + 1) for now in (1.0, 3.0, 5.0))
    choice.stalled(0, 7.0, 9.0)
    assert choice.locked_out(0, 10.0, 11.0)


@dataclass
class Known:
    """What the model remembers of a host."""

    noted_at: float = -inf
    failed_at: float = -inf


class Choices(RuleBasedStateMachine):
    """Any hosts, any outcomes, in any order, with attempts that overlap, beside a simple model."""

    @initialize(count=st.integers(1, 5), jitter=st.floats(0, 1))
    def begin(self, count: int, jitter: float) -> None:
        self.choice = HostChoice(count, lambda: jitter)
        self.known = [Known() for _ in range(count)]
        self.current: int | None = None
        self.now = 0.0
        self.started: list[tuple[int, float]] = []

    @rule(seconds=st.one_of(st.floats(0, 2), st.floats(0, 60)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(chance=st.integers(0, 4))
    def an_attempt_begins(self, chance: int) -> None:
        self.started.append((chance % len(self.known), self.now))

    @precondition(lambda self: self.started)
    @rule(chance=st.integers(0, 9))
    def an_attempt_succeeds(self, chance: int) -> None:
        number, _ = self.started.pop(chance % len(self.started))
        self.current = number if self.current is None else self.current
        assert self.choice.worked(number, self.now) == (self.current == number)
        self.known[number] = Known(noted_at=self.now)

    @precondition(lambda self: self.started)
    @rule(chance=st.integers(0, 9))
    def an_attempt_fails(self, chance: int) -> None:
        number, began = self.started.pop(chance % len(self.started))
        self.choice.failed(number, began, self.now)
        if began >= self.known[number].noted_at:
            self.known[number] = Known(noted_at=self.now, failed_at=self.now)
            self.current = None if self.current == number else self.current
            assert number not in self.choice.order(self.now), "it rests"

    @invariant()
    def only_its_own_failure_ends_the_use_of_a_host(self) -> None:
        assert self.choice.current == self.current

    @invariant()
    def the_best_come_first(self) -> None:
        order = self.choice.order(self.now)
        assert list(order) == sorted(set(order), key=self._rank)

    @invariant()
    def only_those_rest_that_failed_and_not_for_long(self) -> None:
        order = self.choice.order(self.now)
        for number, known in enumerate(self.known):
            if number not in order:
                assert self.now < known.failed_at + LONGEST_REST

    def _rank(self, number: int) -> tuple[bool, bool, int]:
        lately = self.now < self.known[number].failed_at + LATELY
        return number != self.current, lately, number


TestChoices = Choices.TestCase


@given(st.integers(1, 6), st.data())
def test_after_a_failure_everywhere_the_given_order_is_kept(
    count: int, data: st.DataObject
) -> None:
    """When all have failed, the preference decides again, in whatever order they failed."""
    choice = HostChoice(count)
    for number in data.draw(st.permutations(range(count))):
        choice.failed(number, 0.0, 0.0)
    assert choice.order(LONGEST_REST) == tuple(range(count))
