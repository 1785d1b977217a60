"""What one user may cost with questions about health, and all users together."""

import pytest

from idalloc_worker.health._budget import PER_CALL, HealthBudget
from idalloc_worker.rights._health_rights import NOBODY, Viewer

ALICE = Viewer("alice")
OPERATOR = Viewer("operator", operator=True)
SIZE = 40_000
"""Bytes: a hundred tags."""


class Bench:
    """A budget, and a clock that stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.budget = HealthBudget(lambda: self.now)

    def flood(self, viewer: Viewer, seconds: float, size: int = SIZE) -> tuple[int, int]:
        """Ask 5000 times a second; return the bytes of all answers, and the words of refusal."""
        told = refused = 0
        until = self.now + seconds
        while self.now < until:
            if self.budget.admit(viewer):
                self.budget.charge(viewer, size)
                told += size + PER_CALL
            else:
                refused += self.budget.word(viewer)
            self.now += 0.0002
        return told, refused


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("size", [100, 1200, SIZE])
def test_a_flood_gets_so_many_bytes_and_no_more(bench: Bench, size: int) -> None:
    """Twenty seconds of it are some megabytes, words of refusal among them."""
    told, refused = bench.flood(ALICE, 20.0, size)
    assert 3_000_000 < told < 4_500_000
    assert refused <= 500


def test_others_are_answered_during_a_flood(bench: Bench) -> None:
    bench.flood(NOBODY, 5.0)
    assert bench.budget.admit(ALICE)
    assert bench.budget.admit(OPERATOR)
    assert not bench.budget.admit(NOBODY)


def test_all_callers_together_are_bounded_and_operators_are_apart(bench: Bench) -> None:
    """Who has many users has not many times as much."""
    for number in range(3000):
        for _ in range(20):
            if bench.budget.admit(Viewer(f"user-{number}")):
                bench.budget.charge(Viewer(f"user-{number}"), SIZE)
    assert not bench.budget.admit(ALICE)
    assert bench.budget.admit(OPERATOR)
    assert len(bench.budget._users) <= 1001


def test_an_operator_may_ask_for_all_tags_every_second(bench: Bench) -> None:
    """Some of them do at the same time, and all tags are some 400 kB."""
    for _ in range(100):
        for _operator in range(8):
            assert bench.budget.admit(OPERATOR)
            bench.budget.charge(OPERATOR, 400_000)
        bench.now += 1.0


def test_who_is_refused_is_told_when_to_come_back(bench: Bench) -> None:
    bench.flood(ALICE, 1.0)
    wait = bench.budget.wait(ALICE)
    bench.now += wait + 0.001
    assert bench.budget.admit(ALICE)
