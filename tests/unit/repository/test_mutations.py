"""The list of rules that the mutation gate breaks is up to date with the source."""

import ast
import functools

import pytest

from tests.mutations import RULES, Rule
from tests.mutations._rule import ROOT


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.file}: {rule.says}")
def test_a_rules_line_is_there_once(rule: Rule) -> None:
    """Else it could not be broken; and what is broken is still Python."""
    source, meaning = read(rule.file)
    assert ast.dump(ast.parse(rule.break_in(source))) != meaning


@functools.cache
def read(file: str) -> tuple[str, str]:
    """Return the source, and what Python makes of it."""
    source = (ROOT / file).read_text()
    return source, ast.dump(ast.parse(source))


def test_each_rule_is_listed_once() -> None:
    """By its sentence."""
    assert len({rule.says for rule in RULES}) == len(RULES)
