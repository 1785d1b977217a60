"""Keeps Python's garbage collector from holding up the I/O thread, which answers all requests.

A full collection looks at every object there is, and while tags come into use there is one for each
quarter more of them. Measured with 10,000 tags: it takes 46 ms, 11 with the start frozen, and none
comes while they get warm if full ones are rare. A request leaves no cycles behind,
so there is nothing to be found (`benchmarks/races/garbage.py`).
"""

import gc
from typing import Final

_THRESHOLDS: Final = gc.get_threshold()
"""Python's own."""

_RARELY: Final = 200
"""Middle collections before a full one, instead of 10: some 1.5 million new objects.

It is there in case something leaks cycles after all.
"""

_DUE: Final = 10
"""Middle collections since the last full one, after which a quiet moment is used for another."""


def freeze_start() -> None:
    """Leave what a process has at its start out of all collections to come."""
    gc.collect()
    gc.freeze()


def collect_rarely(*, rarely: bool) -> None:
    """Make full collections rare, or as frequent as Python has them."""
    young, middle, old = _THRESHOLDS
    gc.set_threshold(young, middle, _RARELY if rarely else old)


def collect_if_due() -> None:
    """Use a moment in which nobody can be answered: a connection that was lost leaves cycles."""
    if gc.get_count()[2] >= _DUE:
        gc.collect()
