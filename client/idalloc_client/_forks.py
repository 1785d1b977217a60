"""Tells objects in a forked child that what they hold belongs to the parent."""

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that must not go on in a child."""

    def after_fork(self) -> None:
        """Give up, in the child. A lock may have been held by a thread that is not there."""


_held: "weakref.WeakSet[Forkable]" = weakref.WeakSet()


def end_in_children(held: Forkable) -> None:
    """Have `after_fork` called in every process that is forked while the object lives."""
    _held.add(held)


def _in_child() -> None:
    for held in list(_held):
        held.after_fork()


os.register_at_fork(after_in_child=_in_child)
