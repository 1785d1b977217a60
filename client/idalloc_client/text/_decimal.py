"""Decimal digits behind a prefix."""

from collections.abc import Callable
from dataclasses import dataclass

from idalloc_client.text._errors import WORD, MalformedTextError, check_width, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedDecimal:
    """Decimal digits behind a prefix, always the same number of them: `ORD-000000000042`.

    The domain is `[0, 10**width)`, and at most `[0, 2**64)`. Texts sort as their numbers do. Width
    19 covers every id.

    Args:
        width: how many digits, 1 to 20.
        prefix: what stands before them; `decode` wants exactly this.
        check: gives the check digits that follow digits, such as
            `stdnum.luhn.calc_check_digit` and `stdnum.iso7064.mod_97_10.calc_check_digits` of the
            package python-stdnum. `decode` refuses others. By default there are none.
    """

    width: int
    prefix: str = ""
    check: Callable[[str], str] | None = None

    def __post_init__(self) -> None:
        check_width(self.width, 20)

    @property
    def limit(self) -> int:
        """The end of the domain, itself not in it."""
        power: int = 10**self.width
        return min(power, WORD)

    def encode(self, value: int) -> str:
        """Write a number. Raises `OutOfDomainError`."""
        return self._written(f"{checked(value, self.limit):0{self.width}d}")

    def decode(self, text: str) -> int:
        """Read what `encode` wrote. Raises `MalformedTextError` for anything else."""
        begin = len(self.prefix)
        digits = text[begin : begin + self.width] if isinstance(text, str) else ""
        # int() takes signs, spaces, underscores and the digits of every script as well.
        is_decimal = len(digits) == self.width and digits.isascii() and digits.isdecimal()
        if is_decimal and int(digits) < self.limit and text == self._written(digits):
            return int(digits)
        check = " and their check digits" if self.check else ""
        raise MalformedTextError(
            f"expected {self.prefix!r} and {self.width} digits{check}, "
            f"for a number below {self.limit}"
        )

    def _written(self, digits: str) -> str:
        check = self.check(digits) if self.check else ""
        return f"{self.prefix}{digits}{check}"
