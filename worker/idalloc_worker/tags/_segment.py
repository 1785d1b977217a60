"""A reserved range of ids."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """A half-open range of ids, `[left, right)`."""

    left: int
    right: int

    def __post_init__(self) -> None:
        if self.left > self.right:
            raise ValueError(
                f"a segment must not end before it begins: [{self.left}, {self.right})"
            )

    @property
    def size(self) -> int:
        """How many ids it holds."""
        return self.right - self.left
