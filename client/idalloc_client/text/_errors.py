"""What mappings raise, and the checks that raise it."""

from typing import Final

from idalloc_client._errors import IdAllocError

WORD: Final = 2**64
"""No mapping reaches beyond it: ids are 64-bit numbers."""


class IdTextError(IdAllocError, ValueError):
    """Base of what `encode` and `decode` raise; the message never repeats what was given."""


class OutOfDomainError(IdTextError):
    """A number that the mapping does not cover."""


class MalformedTextError(IdTextError):
    """Text that no number is written as."""


def checked(value: int, limit: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise OutOfDomainError(f"expected a whole number from 0 to {limit - 1}")
    return value


def check_width(width: int, longest: int) -> None:
    if not 1 <= width <= longest:
        raise ValueError(f"width must be from 1 to {longest}")
