"""Numbers of a period by a template: what is written can be read, and nothing else."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from stdnum import luhn, verhoeff
from stdnum.iso7064 import mod_11_2, mod_97_10

from idalloc_client import Period, PeriodId
from idalloc_client.text import MalformedTextError, Number, OutOfDomainError
from idalloc_schemas import PeriodKind

INVOICE = Number("INV-{period:%Y-%m}-{id:06d}")
NOVEMBER = Period.parse("2026-11")
CHECKS = [luhn.calc_check_digit, verhoeff.calc_check_digit, mod_97_10.calc_check_digits]
DIRECTIVES = {"year": ["%Y"], "month": ["%Y", "%m"], "day": ["%Y", "%m", "%d"]}

texts = st.text(max_size=4).map(lambda text: text.replace("{", "{{").replace("}", "}}"))
inside = st.text(st.characters(exclude_characters="{}%!:[]"), max_size=2)
checks: st.SearchStrategy[Callable[[str], str] | None] = st.sampled_from([None, *CHECKS])
ids = st.integers(0, 2**64 - 1) | st.integers(0, 2000)


@st.composite
def templates(draw: st.DrawFn) -> Number:
    """Draw any template that can be read back: parts in any order, with any text beside them."""
    check = draw(checks)
    directives = draw(st.permutations(DIRECTIVES[draw(st.sampled_from(PeriodKind))]))
    split = draw(st.integers(0, len(directives) - 1))
    fields = [
        f"{{period:{''.join(part + draw(inside) for part in some)}}}"
        for some in (directives[:split], directives[split:])
        if some
    ]
    fields.append(draw(st.sampled_from(["{id}", "{id:d}", "{id:06d}", "{id:012}", "{id:020d}"])))
    if check and draw(st.booleans()):
        fields.append("{check}")
    pieces = [draw(texts) + field for field in draw(st.permutations(fields))]
    return Number("".join(pieces) + draw(texts), check=check)


def drawn_for(written: Number, data: st.DataObject) -> PeriodId:
    day = data.draw(st.dates())
    return PeriodId(Period(written.kind.first_of(day), written.kind), data.draw(ids))


@given(written=templates(), data=st.data())
def test_a_text_reads_as_the_number_it_was_written_for(
    written: Number, data: st.DataObject
) -> None:
    """Whatever stands beside what: decoding undoes encoding, so no two numbers share a text."""
    number = drawn_for(written, data)
    assert written.decode(written.encode(number)) == number


@given(written=templates(), data=st.data())
def test_a_number_has_one_text(written: Number, data: st.DataObject) -> None:
    """Whatever can be read is written just so: a text with a change in it is another number's."""
    text = written.encode(drawn_for(written, data))
    place = data.draw(st.integers(0, len(text)))
    end = place + data.draw(st.integers(0, 2))
    other = text[:place] + data.draw(st.text("0123456789-X ٣\n", max_size=2)) + text[end:]
    try:
        number = written.decode(other)
    except MalformedTextError:
        return
    assert written.encode(number) == other


def test_by_example() -> None:
    """As the documentation has it; a higher id has more digits."""
    assert INVOICE.encode(PeriodId(NOVEMBER, 42)) == "INV-2026-11-000042"
    assert INVOICE.decode("INV-2026-11-000042") == PeriodId(NOVEMBER, 42)
    assert INVOICE.encode(PeriodId(NOVEMBER, 1_234_567)) == "INV-2026-11-1234567"
    assert INVOICE.decode("INV-2026-11-1234567") == PeriodId(NOVEMBER, 1_234_567)
    day = Number("{period:%d.%m.%Y}/{id}")
    assert day.encode(PeriodId(Period.parse("2026-11-26"), 7)) == "26.11.2026/7"
    assert (
        Number("{{{period:%Y}}}{id:03d}").encode(PeriodId(Period.parse("2026"), 7)) == "{2026}007"
    )
    assert repr(INVOICE) == "Number('INV-{period:%Y-%m}-{id:06d}')"


def test_digits_may_stand_side_by_side() -> None:
    """Only the id varies in length, so that what surrounds it says where it begins and ends."""
    before, behind = Number("{period:%Y%m}{id:04d}7"), Number("{id}{period:%Y%m}")
    for value in (1, 9999, 10_000, 2**63 - 2):
        for written in (before, behind):
            number = PeriodId(NOVEMBER, value)
            assert written.decode(written.encode(number)) == number
    assert before.encode(PeriodId(NOVEMBER, 12_345)) == "202611123457"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INV-2026-11-42",
        "INV-2026-11-0000042",
        "INV-2026-13-000042",
        "INV-2026-11-00004٢",
        "INV-2026-11-000042\n",
        "INV-2026-11- 00042",
        "INV-2026-11-+00042",
        "INV-2026-11-0000_42",
        "inv-2026-11-000042",
        "INV-0000-11-000042",
        "INV-2026-11-18446744073709551616",
        "INV-2026-11-99999999999999999999999",
    ],
)
def test_malformed_text_is_refused(text: str) -> None:
    """Other widths, dates that do not exist, signs; the message has the form and not the text."""
    with pytest.raises(MalformedTextError) as caught:
        INVOICE.decode(text)
    assert INVOICE.template in str(caught.value)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", [None, 42, b"INV-2026-11-000042"])
def test_what_is_no_text_is_refused(text: Any) -> None:
    """With the same error."""
    with pytest.raises(MalformedTextError):
        INVOICE.decode(text)


@pytest.mark.parametrize(
    "number",
    [
        PeriodId(Period.parse("2026-11-26"), 42),
        PeriodId(Period.parse("2026"), 42),
        PeriodId(NOVEMBER, -1),
        PeriodId(NOVEMBER, 2**64),
        PeriodId(NOVEMBER, id=True),
        42,
        (NOVEMBER, 42),
    ],
)
def test_what_the_template_cannot_tell_is_refused(number: Any) -> None:
    """A day's number would lose its day, a year's would read as January's."""
    with pytest.raises(OutOfDomainError):
        INVOICE.encode(number)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "INV-{id:06d}",  # no period
        "INV-{period:%Y-%m}",  # no id
        "{period}-{id}",  # a year and a month look alike
        "{period:}-{id}",
        "{period:%m}-{id}",
        "{period:%d}-{id}",
        "{period:%Y-%d}-{id}",
        "{period:%m-%d}-{id}",
        "{period:%y%m}-{id}",
        "{period:%Y-W%V}-{id}",
        "{period:%Y-%j}-{id}",
        "{period:%F}-{id}",
        "{period:%Y%%}-{id}",
        "{period:%Y%}-{id}",
        "{period:%Y%Y}-{id}",
        "{period:%Y}{period:%Y}-{id}",
        "{period:%Y}-{id}-{id}",
        "{period:%Y}-{id:6d}",  # spaces
        "{period:%Y}-{id:+06d}",
        "{period:%Y}-{id:x}",
        "{period:%Y}-{id:,}",
        "{period:%Y}-{id:00d}",
        "{period:%Y}-{id:021d}",
        "{period:%Y}-{id!r}",
        "{period!s:%Y}-{id}",
        "{period.first:%Y}-{id}",
        "{period:%Y}-{id}-{check}",  # of what?
        "{period:%Y}-{id}-{}",
        "{period:%Y}-{id}-{tag}",
        "{period:%Y}-{id",
        "{period:%Y}-id}",
    ],
)
def test_a_template_without_an_inverse_is_refused(template: str) -> None:
    """When it is made, not when a number is lost."""
    with pytest.raises(ValueError, match=r"."):
        Number(template)


def test_check_digits_are_of_all_digits() -> None:
    """At the end, or where the template has a place; the functions' own package verifies them."""
    appended = Number("INV-{period:%Y-%m}-{id:06d}-", check=luhn.calc_check_digit)
    assert appended.encode(PeriodId(NOVEMBER, 42)) == "INV-2026-11-000042-2"
    placed = Number("{check}/{period:%Y}/{id}", check=mod_97_10.calc_check_digits)
    text = placed.encode(PeriodId(Period.parse("2026"), 5))
    check, rest = text[:2], text[2:].replace("/", "")
    assert mod_97_10.is_valid(rest + check)
    with pytest.raises(ValueError, match="template"):
        Number("{check}{period:%Y}{id}{check}", check=luhn.calc_check_digit)


@pytest.mark.parametrize("check", [*CHECKS, mod_11_2.calc_check_digit])
@given(value=st.integers(0, 10**7), day=st.dates(), data=st.data())
@example(value=0, day=date(1, 1, 1), data=None)
def test_one_wrong_digit_is_noticed(
    check: Callable[[str], str], value: int, day: date, data: st.DataObject | None
) -> None:
    """In the period as in the id."""
    written = Number("INV-{period:%Y%m%d}-{id:04d}", check=check)
    text = written.encode(PeriodId(Period(day, PeriodKind.DAY), value))
    if data is None:
        assert written.decode(text).id == value
        return
    places = [place.start() for place in re.finditer("[0-9]", text)]
    place, digit = data.draw(st.sampled_from(places)), data.draw(st.sampled_from("0123456789"))
    assume(text[place] != digit)
    with pytest.raises(MalformedTextError):
        written.decode(text[:place] + digit + text[place + 1 :])


def test_check_digits_of_varying_number_are_an_error() -> None:
    """The text could not be read back."""
    written = Number("{period:%Y}-{id}-", check=lambda digits: str(int(digits) % 97))
    numbers = [PeriodId(Period.parse("2026"), value) for value in range(200)]
    with pytest.raises(ValueError, match="equally many"):
        list(map(written.encode, numbers))


@given(st.lists(st.tuples(st.dates(), st.integers(0, 999_999)), min_size=2, max_size=9))
def test_texts_sort_as_the_numbers_do(drawn: list[tuple[date, int]]) -> None:
    """As long as ids have the template's width, and the parts of the period stand in order."""
    written = Number("INV-{period:%Y%m%d}-{id:06d}")
    numbers = sorted(PeriodId(Period(day, PeriodKind.DAY), value) for day, value in drawn)
    assert [written.encode(number) for number in numbers] == sorted(map(written.encode, numbers))
