"""Ids as text, and numbers that do not tell how many there are: each mapping with its inverse.

Every mapping here is a bijection from the whole numbers below its `limit`, does no I/O, and may be
shared by threads.
"""

import hmac
import string
from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Final

from idalloc_client._errors import IdAllocError

__all__ = [
    "Base62",
    "FixedDecimal",
    "IdTextError",
    "KeyedPermutation",
    "MalformedTextError",
    "OutOfDomainError",
]

_WORD: Final = 2**64  # no mapping reaches beyond it: ids are 64-bit numbers


class IdTextError(IdAllocError, ValueError):
    """Base of what `encode` and `decode` raise; the message never repeats what was given."""


class OutOfDomainError(IdTextError):
    """A number that the mapping does not cover."""


class MalformedTextError(IdTextError):
    """Text that no number is written as."""


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
        _check_width(self.width, 20)

    @property
    def limit(self) -> int:
        """The end of the domain, itself not in it."""
        power: int = 10**self.width
        return min(power, _WORD)

    def encode(self, value: int) -> str:
        """Write a number. Raises `OutOfDomainError`."""
        return self._written(f"{_checked(value, self.limit):0{self.width}d}")

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
            _check_width(self.width, _LONGEST)

    @property
    def limit(self) -> int:
        """The end of the domain, itself not in it."""
        return _WORD if self.width is None else min(62**self.width, _WORD)

    def encode(self, value: int) -> str:
        """Write a number. Raises `OutOfDomainError`."""
        rest = _checked(value, self.limit)
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


_MIN_KEY_BYTES: Final = 16
_MIN_LIMIT: Final = 1_000_000
_ROUNDS: Final = 10
_DERIVATION: Final = b"idalloc.text.KeyedPermutation/1\0"


class KeyedPermutation:
    """Shuffles the numbers of `[0, limit)` with a key: public numbers without order or volume.

    Equal arguments give the same mapping in every process and in every version of idalloc.

    It is a Feistel network of ten rounds over two halves of nearly equal size, that is, the shape
    and the number of rounds of FF1 (NIST SP 800-38G), with HMAC-SHA256 as the round function
    instead of AES: it needs nothing but the standard library. The product of the halves can be
    larger than `limit`: then it walks on until it is inside (Black and Rogaway, "Ciphers with
    Arbitrary Finite Domains", 2002). It is not FF1 and carries no certificate.

    It authenticates nothing: every number of the domain decodes to some id, and in a domain that is
    nearly full almost every guess hits. Check who asks, and choose `limit` far above the ids that
    will ever be. There are attacks on Feistel networks over small domains (Bellare, Hoang and
    Tessaro 2016; Durak and Vaudenay 2017; Hoang, Tessaro and Trieu 2018): like the draft revision
    of NIST's standard, this class refuses domains below a million. Who learns an id with its public
    number knows this pair; who learns the key knows all.

    Args:
        key: a secret of at least 16 bytes, at best 32 random ones. Another key is another mapping:
            it cannot be changed for numbers that are out.
        limit: the end of the domain, from 1,000,000 to 2**64; often a format's `limit`.
        purpose: keeps mappings under one key apart, such as those of two app tags.
    """

    __slots__ = ("_columns", "_mac", "_rows", "limit", "purpose")

    def __init__(self, key: bytes, *, limit: int, purpose: str = "") -> None:
        _check_key(key)
        if not _MIN_LIMIT <= limit <= _WORD:
            raise ValueError(f"limit must be from {_MIN_LIMIT} to 2**64")
        self.limit: Final = limit
        self.purpose: Final = purpose
        # A number is a place in a table that is as square as can be: by its row and its column.
        self._rows: Final = isqrt(limit - 1) + 1
        self._columns: Final = -(-limit // self._rows)
        about = _DERIVATION + limit.to_bytes(16, "big") + purpose.encode()
        subkey = hmac.digest(key, about, "sha256")
        # A copy of it in each round, not a new one: 25 % of `encode`, measured.
        self._mac: Final = hmac.new(subkey, digestmod="sha256")

    def encode(self, value: int) -> int:
        """Turn an id into its public number. Raises `OutOfDomainError`."""
        walked = self._forth(_checked(value, self.limit))
        while walked >= self.limit:
            walked = self._forth(walked)
        return walked

    def decode(self, value: int) -> int:
        """Turn a public number back into its id. Raises `OutOfDomainError`."""
        walked = self._back(_checked(value, self.limit))
        while walked >= self.limit:
            walked = self._back(walked)
        return walked

    def __repr__(self) -> str:
        return f"KeyedPermutation(limit={self.limit}, purpose={self.purpose!r})"  # no key

    def _forth(self, value: int) -> int:
        row, column = divmod(value, self._columns)
        for number in range(0, _ROUNDS, 2):
            row = (row + self._mix(number, column)) % self._rows
            column = (column + self._mix(number + 1, row)) % self._columns
        return row * self._columns + column

    def _back(self, value: int) -> int:
        row, column = divmod(value, self._columns)
        for number in reversed(range(0, _ROUNDS, 2)):
            column = (column - self._mix(number + 1, row)) % self._columns
            row = (row - self._mix(number, column)) % self._rows
        return row * self._columns + column

    def _mix(self, number: int, half: int) -> int:
        """Give 128 bits, so many that no remainder of them is noticeably more likely."""
        mac = self._mac.copy()
        mac.update(number.to_bytes(1, "big") + half.to_bytes(8, "big"))
        return int.from_bytes(mac.digest()[:16], "big")


def _checked(value: int, limit: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise OutOfDomainError(f"expected a whole number from 0 to {limit - 1}")
    return value


def _check_width(width: int, longest: int) -> None:
    if not 1 <= width <= longest:
        raise ValueError(f"width must be from 1 to {longest}")


def _check_key(key: bytes) -> None:
    if not isinstance(key, bytes):
        raise TypeError("the key must be bytes")
    if len(key) < _MIN_KEY_BYTES:
        raise ValueError(f"the key must have at least {_MIN_KEY_BYTES} bytes")
