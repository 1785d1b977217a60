"""Ids as text: bijections over their stated domains, and a mapping that never changes."""

import hmac
import string
from collections.abc import Callable
from itertools import pairwise
from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from idalloc_client import IdAllocError
from idalloc_client.text import (
    Base62,
    FixedDecimal,
    KeyedPermutation,
    MalformedTextError,
    OutOfDomainError,
    _permutation,
)
from idalloc_schemas import MAX_ID

KEY = bytes(range(32))
ORDER = FixedDecimal(prefix="ORD-", width=12)

checks = st.sampled_from([None, luhn.calc_check_digit, mod_97_10.calc_check_digits])
decimals = st.builds(
    FixedDecimal, width=st.integers(1, 20), prefix=st.text(max_size=5), check=checks
)
base62s = st.builds(Base62, width=st.none() | st.integers(1, 11))
formats = decimals | base62s
permutations = st.builds(
    KeyedPermutation,
    st.binary(min_size=16, max_size=100),
    limit=st.integers(1_000_000, 1_100_000) | st.integers(1_000_000, 2**64),
    purpose=st.text(max_size=5),
)


def numbers(limit: int) -> st.SearchStrategy[int]:
    return st.integers(0, limit - 1) | st.sampled_from([0, limit - 1])


@given(written=formats, data=st.data())
def test_a_text_reads_as_the_number_it_was_written_for(
    written: FixedDecimal | Base62, data: st.DataObject
) -> None:
    """Decoding undoes encoding on the whole domain, so no two numbers share a text."""
    value = data.draw(numbers(written.limit))
    assert written.decode(written.encode(value)) == value


@pytest.mark.parametrize("check", [luhn.calc_check_digit, mod_97_10.calc_check_digits])
@given(value=numbers(10**6), place=st.integers(0, 5), digit=st.integers(0, 9))
def test_one_wrong_digit_is_noticed(
    check: Callable[[str], str], value: int, place: int, digit: int
) -> None:
    """Both schemes promise that."""
    written = FixedDecimal(prefix="INV-", width=6, check=check)
    right = written.encode(value)
    wrong = right[: 4 + place] + str(digit) + right[5 + place :]
    if wrong != right:
        with pytest.raises(MalformedTextError, match="and their check digits"):
            written.decode(wrong)


@given(written=formats, data=st.data())
def test_a_number_has_one_text(written: FixedDecimal | Base62, data: st.DataObject) -> None:
    """A text is either refused or exactly the one that its number is written as."""
    close = written.encode(data.draw(numbers(written.limit)))
    place = data.draw(st.integers(0, len(close)))
    odd = data.draw(st.sampled_from(["", "0", "z", "-", "_", " ", "\n", "٣", "é"]))
    changed = close[:place] + odd + close[place + data.draw(st.integers(0, 1)) :]
    try:
        value = written.decode(changed)
    except MalformedTextError:
        return
    assert 0 <= value < written.limit
    assert written.encode(value) == changed


@given(
    written=decimals | st.builds(Base62, width=st.integers(1, 11)),
    data=st.data(),
)
def test_texts_of_one_width_sort_as_their_numbers(
    written: FixedDecimal | Base62, data: st.DataObject
) -> None:
    """With a fixed width, comparing texts byte by byte is comparing numbers."""
    one, other = (data.draw(numbers(written.limit)) for _ in range(2))
    assert (written.encode(one).encode() < written.encode(other).encode()) == (one < other)


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        (ORDER, 0, "ORD-000000000000"),
        (ORDER, 42, "ORD-000000000042"),
        (ORDER, 10**12 - 1, "ORD-999999999999"),
        (FixedDecimal(width=19), MAX_ID, "9223372036854775807"),
        # Luhn's example in Wikipedia, and ISO 7064's: 794 has the check digits 44.
        (FixedDecimal(width=10, check=luhn.calc_check_digit), 1789372997, "17893729974"),
        (FixedDecimal(width=6, check=mod_97_10.calc_check_digits), 794, "00079444"),
        (FixedDecimal(width=20), 2**64 - 1, "18446744073709551615"),
        (Base62(), 0, "0"),
        (Base62(), 61, "z"),
        (Base62(), 62, "10"),
        (Base62(), 2**64 - 1, "LygHa16AHYF"),
        (Base62(width=11), 42, "0000000000g"),
        (Base62(width=11), MAX_ID - 1, "AzL8n0Y58m6"),
    ],
)
def test_texts_stay_what_they_are(
    written: FixedDecimal | Base62, value: int, expected: str
) -> None:
    """Texts that are printed on paper today are read by every later version."""
    assert written.encode(value) == expected
    assert written.decode(expected) == value


@pytest.mark.parametrize(
    ("written", "given_text"),
    [
        (ORDER, "ORD-42"),
        (ORDER, "ORD-0000000000042"),
        (ORDER, "000000000042"),
        (ORDER, "0000000000000042"),
        (ORDER, "ord-000000000042"),
        (ORDER, "ORD-+00000000042"),
        (ORDER, "ORD-000_000_0042"),
        (ORDER, "ORD- 00000000042"),
        (ORDER, "ORD-00000000042\n"),
        (ORDER, "ORD-00000000004²"),
        (ORDER, "ORD-٠٠٠٠٠٠٠٠٠٠٤٢"),
        (ORDER, ""),
        (ORDER, None),
        (FixedDecimal(width=20), "18446744073709551616"),
        (Base62(), ""),
        (Base62(), "00"),
        (Base62(), "0z"),
        (Base62(), "LygHa16AHYG"),
        (Base62(), "z" * 10_000),
        (Base62(), b"z"),
        (Base62(width=3), "zz"),
        (Base62(width=3), "zz-"),
        (Base62(width=11), "LygHa16AHYG"),
    ],
)
def test_malformed_text_is_refused(written: FixedDecimal | Base62, given_text: str) -> None:
    """Text that no number is written as raises a `MalformedTextError`, however close it is."""
    with pytest.raises(MalformedTextError):
        written.decode(given_text)


@pytest.mark.parametrize(
    "written", [ORDER, Base62(), Base62(width=4), KeyedPermutation(KEY, limit=10**12)]
)
@pytest.mark.parametrize("beyond", [-1, True, "42", 1.0, None, 2**64, -(2**70)])
def test_what_is_not_in_the_domain_is_refused(
    written: FixedDecimal | Base62 | KeyedPermutation, beyond: int
) -> None:
    """A value outside the domain raises an `OutOfDomainError`: nothing is cut off or wrapped."""
    with pytest.raises(OutOfDomainError):
        written.encode(beyond)
    if isinstance(written, KeyedPermutation):
        with pytest.raises(OutOfDomainError):
            written.decode(beyond)


@pytest.mark.parametrize(
    "written", [ORDER, Base62(), Base62(width=4), KeyedPermutation(KEY, limit=10**12 + 7)]
)
def test_the_limit_itself_is_outside(written: FixedDecimal | Base62 | KeyedPermutation) -> None:
    """`limit` is the first number that is not covered, the one before it is covered."""
    written.encode(written.limit - 1)
    with pytest.raises(OutOfDomainError, match=f"from 0 to {written.limit - 1}$"):
        written.encode(written.limit)


def test_errors_are_of_the_package_and_of_the_builtin_kind() -> None:
    """Both errors are caught as `IdAllocError` and as `ValueError`."""
    for kind in (OutOfDomainError, MalformedTextError):
        assert issubclass(kind, IdAllocError)
        assert issubclass(kind, ValueError)


def test_errors_do_not_repeat_what_was_given() -> None:
    """A text from outside does not get into an error message, and so not into a log."""
    with pytest.raises(MalformedTextError) as caught:
        ORDER.decode("SECRET")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("width", [0, -1, 21])
def test_a_decimal_width_is_checked(width: int) -> None:
    """A width that makes no sense is refused when the format is made."""
    with pytest.raises(ValueError, match="width must be from 1 to 20"):
        FixedDecimal(width=width)


@pytest.mark.parametrize("width", [0, -1, 12])
def test_a_base62_width_is_checked(width: int) -> None:
    """A width that makes no sense is refused when the format is made."""
    with pytest.raises(ValueError, match="width must be from 1 to 11"):
        Base62(width=width)


# The permutation

# Never change these: they are numbers on other people's paper.
FROZEN = [
    (10**6, "", {0: 331556, 1: 128811, 2: 540435, 42: 180795, 10**6 - 1: 264856}),
    (10**12, "", {0: 150250099245, 42: 90041487051, 10**12 - 1: 308535856021}),
    (10**12, "invoice", {42: 527697163254}),
    (10**12 + 7, "", {0: 621302110927, 42: 211925354801, 10**12 + 6: 704433444352}),
    (2**40, "", {0: 609637022847, 42: 177065057500, 2**40 - 1: 247338165686}),
    (2**63 - 1, "", {0: 3430982768868896139, 2**63 - 2: 3487094287220301609}),
    (2**64, "", {0: 15360831796816806867, 2**64 - 1: 17552311803373898691}),
]


@pytest.mark.parametrize(("limit", "purpose", "pairs"), FROZEN)
def test_the_mapping_never_changes(limit: int, purpose: str, pairs: dict[int, int]) -> None:
    """Public numbers that are out in the world keep their ids in every later version."""
    permutation = KeyedPermutation(KEY, limit=limit, purpose=purpose)
    assert {value: permutation.encode(value) for value in pairs} == pairs


@given(permutation=permutations, data=st.data())
def test_the_permutation_has_an_inverse_on_both_sides(
    permutation: KeyedPermutation, data: st.DataObject
) -> None:
    """Both ways undo each other inside the domain, so it is a bijection of the domain."""
    value = data.draw(numbers(permutation.limit))
    assert 0 <= permutation.encode(value) < permutation.limit
    assert permutation.decode(permutation.encode(value)) == value
    assert permutation.encode(permutation.decode(value)) == value


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 16, 17, 101, 240, 257, 1000])
def test_a_small_domain_is_permuted_whole(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number of the domain comes out once, also where the halves do not fit exactly."""
    monkeypatch.setattr(_permutation, "_MIN_LIMIT", 1)
    permutation = KeyedPermutation(KEY, limit=limit)
    assert sorted(permutation.encode(value) for value in range(limit)) == list(range(limit))
    assert sorted(permutation.decode(value) for value in range(limit)) == list(range(limit))


def by_the_book(key: bytes, limit: int, purpose: str, value: int) -> int:
    """Follow docs/text.md, without the class."""
    about = b"idalloc.text.KeyedPermutation/1\0" + limit.to_bytes(16, "big") + purpose.encode()
    subkey = hmac.digest(key, about, "sha256")
    rows = isqrt(limit)
    rows += rows * rows < limit
    columns = (limit + rows - 1) // rows
    while True:
        halves = list(divmod(value, columns))
        for number in range(10):
            other = halves[1 - number % 2]
            message = bytes([number]) + other.to_bytes(8, "big")
            mixed = int.from_bytes(hmac.digest(subkey, message, "sha256")[:16], "big")
            halves[number % 2] = (halves[number % 2] + mixed) % (rows, columns)[number % 2]
        value = halves[0] * columns + halves[1]
        if value < limit:
            return value


@given(
    key=st.binary(min_size=16, max_size=100),
    limit=st.integers(1_000_000, 2**64),
    purpose=st.text(max_size=5),
    data=st.data(),
)
def test_the_permutation_is_the_documented_one(
    key: bytes, limit: int, purpose: str, data: st.DataObject
) -> None:
    """Who follows the documentation in another language gets the same numbers."""
    value = data.draw(numbers(limit))
    permutation = KeyedPermutation(key, limit=limit, purpose=purpose)
    assert permutation.encode(value) == by_the_book(key, limit, purpose, value)


def test_neighbours_tell_neither_order_nor_volume() -> None:
    """A thousand ids in a row rise about every second time and cover the domain evenly."""
    permutation = KeyedPermutation(KEY, limit=10**12)
    public = [permutation.encode(value) for value in range(1, 1001)]
    rises = sum(one < next_one for one, next_one in pairwise(public))
    assert 450 < rises < 550
    tenths = [sum(number // 10**11 == tenth for number in public) for tenth in range(10)]
    assert min(tenths) > 70
    assert max(tenths) < 130


@pytest.mark.parametrize(
    "other",
    [
        KeyedPermutation(KEY[::-1], limit=10**12),
        KeyedPermutation(KEY, limit=10**12 + 1),
        KeyedPermutation(KEY, limit=10**12, purpose="invoice"),
    ],
)
def test_key_limit_and_purpose_each_make_another_mapping(other: KeyedPermutation) -> None:
    """Mappings that differ in one argument have nothing in common."""
    permutation = KeyedPermutation(KEY, limit=10**12)
    assert not [v for v in range(100) if permutation.encode(v) == other.encode(v)]


def test_the_key_is_not_shown() -> None:
    """Neither the repr nor an error holds the key or a part of it."""
    permutation = KeyedPermutation(b"k3y-of-the-shop!", limit=10**12, purpose="order")
    assert repr(permutation) == "KeyedPermutation(limit=1000000000000, purpose='order')"
    with pytest.raises(ValueError, match="at least 16 bytes") as short:
        KeyedPermutation(b"k3y-short", limit=10**12)
    with pytest.raises(TypeError, match="must be bytes") as wrong:
        KeyedPermutation("k3y-of-the-shop!", limit=10**12)  # type: ignore[arg-type]
    assert "k3y" not in str(short.value) + str(wrong.value)


@pytest.mark.parametrize("limit", [-1, 0, 999_999, 2**64 + 1])
def test_a_domain_that_is_too_small_or_too_large_is_refused(limit: int) -> None:
    """Small domains are refused: the literature breaks them, and anybody can try all numbers."""
    with pytest.raises(ValueError, match="limit must be from 1000000 to"):
        KeyedPermutation(KEY, limit=limit)


def test_the_parts_fit_together() -> None:
    """A format's limit is a permutation's limit: each public number fits the format."""
    shuffled = KeyedPermutation(KEY, limit=ORDER.limit)
    assert ORDER.encode(shuffled.encode(42)) == "ORD-090041487051"
    assert shuffled.decode(ORDER.decode("ORD-090041487051")) == 42


def test_the_alphabet_is_in_the_order_of_its_bytes() -> None:
    """Digits, upper case, lower case: as ASCII has them."""
    alphabet = "".join(Base62().encode(value) for value in range(62))
    assert alphabet == string.digits + string.ascii_uppercase + string.ascii_lowercase
    assert list(alphabet) == sorted(alphabet)
