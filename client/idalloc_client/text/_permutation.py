"""Numbers that do not tell how many there are."""

import hmac
from math import isqrt
from typing import Final

from idalloc_client.text._errors import WORD, checked

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
        if not _MIN_LIMIT <= limit <= WORD:
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
        walked = self._forth(checked(value, self.limit))
        while walked >= self.limit:
            walked = self._forth(walked)
        return walked

    def decode(self, value: int) -> int:
        """Turn a public number back into its id. Raises `OutOfDomainError`."""
        walked = self._back(checked(value, self.limit))
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


def _check_key(key: bytes) -> None:
    if not isinstance(key, bytes):
        raise TypeError("the key must be bytes")
    if len(key) < _MIN_KEY_BYTES:
        raise ValueError(f"the key must have at least {_MIN_KEY_BYTES} bytes")
