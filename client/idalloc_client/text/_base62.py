"""Digits and letters."""

import string
from dataclasses import dataclass
from typing import Final

from idalloc_client.text._errors import WORD, MalformedTextError, check_width, checked

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_LONGEST: Final = 11  # 62**11 > 2**64 > 62**10


@dataclass(frozen=True, slots=True, kw_only=True)
class Base62:
    """Digits and letters, `0-9A-Za-z` in this order: the highest id is `AzL8n0Y58m6`.

    With a width, the domain is `[0, 62**width)`, at most `[0, 2**64)`, and texts sort as their
    numbers do wherever they are compared byte by byte. Without one, the text is as short as can be,
    the domain is `[0, 2**64)`, and the order is lost. Width 11 covers every id.

    Upper and lower case differ: a database column for it needs a binary or case-sensitive
    collation.

    Args:
        width: how many characters, 1 to 11; None for as few as the number needs.
    """

    width: int | None = None

    def __post_init__(self) -> None:
        if self.width is not None:
            check_width(self.width, _LONGEST)

    @property
    def limit(self) -> int:
        """The end of the domain, itself not in it."""
        return WORD if self.width is None else min(62**self.width, WORD)

    def encode(self, value: int) -> str:
        """Write a number. Raises `OutOfDomainError`."""
        rest = checked(value, self.limit)
        backwards = []
        while rest:
            rest, digit = divmod(rest, 62)
            backwards.append(_DIGITS[digit])
        return "".join(reversed(backwards)).rjust(self.width or 1, "0")

    def decode(self, text: str) -> int:
        """Read what `encode` wrote. Raises `MalformedTextError` for anything else."""
        value = self._value(text) if isinstance(text, str) and self._is_long_enough(text) else None
        if value is None or value >= self.limit:
            length = "1 to 11" if self.width is None else self.width
            raise MalformedTextError(
                f"expected {length} of the characters 0-9A-Za-z, for a number below {self.limit}"
            )
        return value

    def _is_long_enough(self, text: str) -> bool:
        if self.width is not None:
            return len(text) == self.width
        # One text for each number: no zeros in front.
        return text == "0" or (1 <= len(text) <= _LONGEST and text[0] != "0")

    @staticmethod
    def _value(text: str) -> int | None:
        value = 0
        for character in text:
            digit = _VALUES.get(character)
            if digit is None:
                return None
            value = value * 62 + digit
        return value
