"""Numbers of a period by a template: `INV-2026-11-000042`."""

import re
import string
from collections.abc import Callable, Iterator
from datetime import date
from typing import Final, NamedTuple

from idalloc_client._batch import PeriodId
from idalloc_client.text._errors import WORD, MalformedTextError, OutOfDomainError, checked
from idalloc_schemas import Period, PeriodKind

_MOST_DIGITS: Final = len(str(WORD - 1))
_ID_FORMAT: Final = re.compile(r"(0(?P<width>[1-9][0-9]?))?d?")
_DIRECTIVES: Final = {"%Y": ("year", 4), "%m": ("month", 2), "%d": ("day", 2)}
_KINDS: Final = {
    frozenset({"year"}): PeriodKind.YEAR,
    frozenset({"year", "month"}): PeriodKind.MONTH,
    frozenset({"year", "month", "day"}): PeriodKind.DAY,
}


class Number:
    """A number of a tag that starts anew in each period, as text: `INV-2026-11-000042`.

    `decode` accepts exactly what `encode` writes, and gives the same period and id. All parts of a
    text but the id have a fixed length, so digits may stand side by side: `202611000042`.

    Args:
        template: text with `{period:...}` and `{id:...}`, such as `INV-{period:%Y-%m}-{id:06d}`.
            The period is written with `%Y`, `%m` and `%d`, as far as its kind has them, in any
            order. The width of an id is the least one: a higher id has more digits, as it has in
            Python. `{{` and `}}` are braces.
        check: gives the check digits of all digits of the text in their order, such as
            `stdnum.luhn.calc_check_digit` and `stdnum.iso7064.mod_97_10.calc_check_digits` of the
            package python-stdnum, and always as many of them. They stand where the template has
            `{check}`, or at the end. `decode` refuses others. By default there are none.

    Raises:
        ValueError: for a template that could not be read back.
    """

    __slots__ = ("_check_length", "_layout", "_pattern", "check", "kind", "template")

    def __init__(self, template: str, *, check: Callable[[str], str] | None = None) -> None:
        self.template: Final = template
        self.check: Final = check
        self._check_length: Final = len(check("0")) if check else 0
        parts = list(_parts(template, self._check_length))
        has_place = any(part.name == "check" for part in parts)
        if has_place and not check:
            raise ValueError("{check} needs a function: check=stdnum.luhn.calc_check_digit")
        if check and not has_place:
            parts.append(_check_part(self._check_length))
        self.kind: Final = _kind([part.name for part in parts if part.name])
        self._layout: Final = "".join(part.layout for part in parts)
        self._pattern: Final = re.compile("".join(part.pattern for part in parts), re.DOTALL)

    def encode(self, number: PeriodId) -> str:
        """Write a number. Raises `OutOfDomainError`, also for a period of another length."""
        if not isinstance(number, PeriodId) or number.period.kind is not self.kind:
            raise OutOfDomainError(f"expected the PeriodId of a {self.kind}")
        return self._written(number.period.first, checked(number.id, WORD))

    def decode(self, text: str) -> PeriodId:
        """Read what `encode` wrote. Raises `MalformedTextError` for anything else."""
        found = self._pattern.fullmatch(text) if isinstance(text, str) else None
        number = found and self._number(found.groupdict())
        # Once more from the number: zeros in front and check digits can only be right.
        if not number or self._written(number.period.first, number.id) != text:
            check = " and its check digits" if self.check else ""
            raise MalformedTextError(f"expected a text of the form {self.template!r}{check}")
        return number

    def _number(self, found: dict[str, str]) -> PeriodId | None:
        value = int(found["id"])
        try:
            first = date(int(found["year"]), int(found.get("month", 1)), int(found.get("day", 1)))
        except ValueError:
            return None
        return PeriodId(Period(first, self.kind), value) if value < WORD else None

    def _written(self, first: date, value: int) -> str:
        def fill(check: str) -> str:
            return self._layout.format(
                year=first.year, month=first.month, day=first.day, id=value, check=check
            )

        if self.check is None:
            return fill("")
        check = self.check("".join(each for each in fill("") if each in string.digits))
        if len(check) != self._check_length:
            raise ValueError("the check digits must always be equally many")
        return fill(check)

    def __repr__(self) -> str:
        check = f", check={self.check!r}" if self.check else ""
        return f"Number({self.template!r}{check})"


class _Part(NamedTuple):
    """Text that is always the same, where the name is empty, or a field."""

    name: str
    layout: str
    """How `str.format` writes it."""
    pattern: str


def _parts(template: str, check_length: int) -> Iterator[_Part]:
    """Cut a template into parts, of which only the id varies in length."""
    for literal, name, spec, conversion in string.Formatter().parse(template):
        yield _literal(literal)
        match name, spec, conversion:
            case None, _, _:
                pass
            case "period", str(spec), None:
                yield from _period_parts(spec)
            case "id", str(spec), None:
                yield _id_part(spec)
            case "check", "", None:
                yield _check_part(check_length)
            case _:
                raise ValueError("a template has {period:...}, {id:...} and {check}, and no others")


def _kind(names: list[str]) -> PeriodKind:
    """Say which kind of period the fields tell whole, with the id."""
    if len(set(names)) < len(names) or "id" not in names:
        raise ValueError("a template has {id:...} once, and each part of the period once")
    kind = _KINDS.get(frozenset(names) - {"id", "check"})
    if kind is None:
        raise ValueError("a template has all parts of a period: %Y, or %Y and %m, or these and %d")
    return kind


def _literal(text: str) -> _Part:
    return _Part("", text.replace("{", "{{").replace("}", "}}"), re.escape(text))


def _period_parts(spec: str) -> Iterator[_Part]:
    for piece in re.split("(%.?)", spec):
        if "%" not in piece:
            yield _literal(piece)
        elif piece in _DIRECTIVES:
            name, digits = _DIRECTIVES[piece]
            yield _field(name, f"0{digits}d", f"[0-9]{{{digits}}}")
        else:
            raise ValueError("a period is written with %Y, %m and %d, and no other directives")


def _id_part(spec: str) -> _Part:
    found = _ID_FORMAT.fullmatch(spec)
    width = int(found["width"] or 1) if found else 0
    if not 1 <= width <= _MOST_DIGITS:
        raise ValueError(f"an id is written as {{id:06d}}, with a width from 1 to {_MOST_DIGITS}")
    return _field("id", f"0{width}d", f"[0-9]{{{width},{_MOST_DIGITS}}}")


def _check_part(length: int) -> _Part:
    return _field("check", "", f".{{{length}}}")


def _field(name: str, spec: str, pattern: str) -> _Part:
    return _Part(name, f"{{{name}:{spec}}}", f"(?P<{name}>{pattern})")
