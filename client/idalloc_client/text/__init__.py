"""Ids as text, and numbers that do not tell how many there are: each mapping with its inverse.

None of them does any I/O, and threads may share them.
"""

from idalloc_client.text._base62 import Base62
from idalloc_client.text._decimal import FixedDecimal
from idalloc_client.text._errors import IdTextError, MalformedTextError, OutOfDomainError
from idalloc_client.text._number import Number
from idalloc_client.text._permutation import KeyedPermutation

__all__ = [
    "Base62",
    "FixedDecimal",
    "IdTextError",
    "KeyedPermutation",
    "MalformedTextError",
    "Number",
    "OutOfDomainError",
]
