"""Numbers what is published on a channel in confirm mode, and keeps what is not confirmed yet."""

from itertools import takewhile
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Confirms(Generic[Item]):
    """Owned by the channel's thread. The broker counts along: each message has to be numbered."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, Item] = {}  # in the order of publishing

    @property
    def oldest(self) -> Item | None:
        """What waits for the longest time."""
        return next(iter(self._waiting.values()), None)

    def count(self) -> int:
        """Give a number to a message that nobody waits for."""
        self._last += 1
        return self._last

    def add(self, item: Item) -> int:
        """Give a message a number, and keep `item` until the broker speaks of it."""
        number = self.count()
        self._waiting[number] = item
        return number

    def settle(self, number: int, *, multiple: bool) -> dict[int, Item]:
        """Take out what the broker speaks of, be it good or bad: `multiple` means all up to it."""
        if multiple:
            numbers = list(takewhile(lambda each: each <= number, self._waiting))
        else:
            numbers = [number] if number in self._waiting else []
        return {each: self._waiting.pop(each) for each in numbers}

    def reset(self) -> list[Item]:
        """Begin anew, as another channel does; return what was not confirmed on the last one."""
        items = list(self._waiting.values())
        self._waiting.clear()
        self._last = 0
        return items
