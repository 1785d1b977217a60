"""The attacks: each is documented, the attacker's rights are a caller's, the judge can count."""

import re
from pathlib import Path

import pytest
from pika import frame

from devstack.attacks import floods, judge, rights
from devstack.attacks.catalog import ATTACKS, Attack
from devstack.attacks.honest import Call
from devstack.attacks.intruder import Deeds
from devstack.attacks.judge import Outcome

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
FILES = ROOT / "tests"


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_the_threat_model_has_every_attack(attack: Attack) -> None:
    """Who reads the page sees what was tried, and who adds an attack says what it may cost."""
    assert f"`{attack.name}`" in PAGE
    assert attack.what.endswith(".")


def test_the_threat_model_names_tests_that_there_are() -> None:
    """The last column of each table of attacks holds names of attacks and of files."""
    section = PAGE.partition("## Attacks\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    names = {name for row in rows for name in re.findall(r"`([\w.]+)`", row.split("|")[3])}
    files = {path.name for path in FILES.rglob("test_*.py")}
    assert len(names) >= len(ATTACKS)
    assert names <= files | {attack.name for attack in ATTACKS}


def test_every_attack_names_its_test() -> None:
    """A row without one says so; and a test that is named by its function is there."""
    section = PAGE.partition("## Attacks\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:4] for line in section.splitlines() if line.startswith("| ")]
    for what, bound, test in rows:
        title = what.strip().startswith("**") and not bound.strip()
        heading = test.strip() in {"test", "---"}
        assert title or heading or "`" in test or test.strip() == "not tested", what
        for file, function in re.findall(r"`(test_\w+\.py)::(\w+)`", test):
            sources = [path.read_text("utf-8") for path in FILES.rglob(file)]
            assert any(f"def {function}(" in source for source in sources), f"{file}::{function}"


def test_the_intruder_is_a_caller() -> None:
    """Nothing is tried with more rights than the shipped caller has, or with lower limits."""
    shipped = {
        "users": [{"name": "idalloc-caller", "limits": {"max-connections": 7}}],
        "permissions": [{"user": "idalloc-caller", "write": "x"}, {"user": "a", "write": "y"}],
    }
    both = rights._with_intruder(shipped)
    caller, intruder = both["users"]
    assert intruder == {**caller, "name": rights.INTRUDER}
    assert [entry["write"] for entry in both["permissions"]] == ["x", "y", "x"]
    assert both["permissions"][-1]["user"] == rights.INTRUDER


def test_nested_headers_are_well_formed() -> None:
    """The frames say how long they are, so that the broker takes the header for one."""
    prepared = floods._nested(5)
    kinds = []
    while prepared:
        consumed, decoded = frame.decode_frame(prepared)
        assert consumed
        kinds.append(type(decoded))
        if isinstance(decoded, frame.Header):
            assert decoded.properties.headers == {"a": {"a": {"a": {"a": {"a": {}}}}}}
        prepared = prepared[consumed:]
    assert kinds == [frame.Method, frame.Header, frame.Body]


def test_a_row_may_move_by_what_was_drawn() -> None:
    """And by the segments that workers hold; by no more."""
    held = judge._HELD * 10
    before, asked = {"a": (5, 10)}, {"a": 1000}
    assert not list(judge._moved(before, {"a": (5 + 1000 + 50 + held, 10)}, asked, 50))
    assert list(judge._moved(before, {"a": (6 + 1000 + 50 + held, 10)}, asked, 50))
    assert list(judge._moved(before, {"a": (5, 10), "new": (held + 51, 10)}, asked, 50))


def test_a_slow_call_counts_from_when_it_was_due() -> None:
    """The 99th percentile is that of the worst one in a hundred."""
    calls = [Call(number, 0.0, number / 100, None) for number in range(100)]
    assert judge._p99(calls) == 0.99


def test_an_outcome_names_its_problems() -> None:
    """What was not kept is said with its number."""
    kept = Outcome(ATTACKS[0], Deeds(), [], 100, 0.01, 0.04, 10.0, 10.0, 20.0, [])
    assert not kept.problems
    assert kept.ratio == pytest.approx(4)
    broken = Outcome(ATTACKS[0], Deeds(), ["late"] * 3, 100, 0.01, 0.1, 51.0, 21.0, 20.0, ["gone"])
    assert broken.problems == [
        "gone",
        "3 of 100 honest calls failed: 3 times late",
        "a worker grew by 51 MB",
        "the broker grew by 21 MB",
    ]
