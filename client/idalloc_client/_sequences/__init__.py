"""Ids that are leased ahead of use."""

from idalloc_client._sequences._async_sequence import AsyncIdSequence
from idalloc_client._sequences._lease_buffer import no_lease_in_time
from idalloc_client._sequences._lease_size import LeaseLimits
from idalloc_client._sequences._registry import SequenceRegistry
from idalloc_client._sequences._sequence import IdSequence, new_sequence

__all__ = [
    "AsyncIdSequence",
    "IdSequence",
    "LeaseLimits",
    "SequenceRegistry",
    "new_sequence",
    "no_lease_in_time",
]
