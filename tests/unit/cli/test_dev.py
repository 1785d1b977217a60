"""The options of `idalloc dev`: what they come to, and what is wrong with them."""

import pytest

from idalloc_schemas import RespCode
from idalloc_worker.cli._dev import _delay, _failure, _gap, _tag
from idalloc_worker.cli._main import run


def test_a_tag_has_the_columns_of_its_row() -> None:
    """A column alone is 1; the last colon ends the name."""
    assert (_tag("order").name, _tag("order").columns) == ("order", {})
    described = _tag("a:b=c:step=10,ordered,allowed-users=one two")
    assert described.name == "a:b=c"
    assert described.columns == {"step": 10, "ordered": 1, "allowed_users": "one two"}
    assert _tag("a:b:").name == "a:b"


def test_faults_are_read() -> None:
    """The last `=` ends the name."""
    assert _failure("order=BUSY") == ("order", (RespCode.BUSY, 1.0))
    assert _failure("a=b=INTERNAL:0.25") == ("a=b", (RespCode.INTERNAL, 0.25))
    assert (_delay("order=0.5"), _gap("order=10")) == (("order", 0.5), ("order", 10))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--tag a:stepp=1", "'stepp' is none of step, max_id"),
        ("--tag a:step=0", "step is 0, which must be 1 or more"),
        ("--tag a:ordered=maybe", "ordered is 'maybe'"),
        ("--fail a=BUZY", "'BUZY' is none of NO_AVAILABLE_ID"),
        ("--fail a=SUCCESS", "'SUCCESS' is none of"),
        ("--fail a=BUSY:2", "not in the range"),
        ("--fail BUSY", "is not an app tag"),
        ("--slow a=x", "'x' is not a valid"),
        ("--gap a=0", "not in the range"),
        ("--tag a --slow b=1", "no --tag names 'b'"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything starts."""
    assert run(["dev", *arguments.split()]) == 2
    assert why in capsys.readouterr().err
