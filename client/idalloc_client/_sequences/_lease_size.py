"""How many ids a sequence leases at a time."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class LeaseLimits:
    """Bounds of a lease: ids, and the seconds that one should last."""

    floor: int
    cap: int
    cover: float

    def __post_init__(self) -> None:
        if not 1 <= self.floor <= self.cap:
            raise ValueError("a lease's floor must be at least 1 and at most its cap")
        if not 0 < self.cover < float("inf"):
            raise ValueError("a lease's cover must be a number of seconds above 0")


def next_lease_size(limits: LeaseLimits, last: int, used: int, seconds: float) -> int:
    """Say how many ids to lease after `used` ids went in `seconds`, with leases of `last` ids.

    It follows the rate, so that a lease lasts for the cover wanted: at most eight times the last
    one, so that one burst does not lease the cap, and at least a half, so that a pause does not
    end a steady stream's cover.
    """
    if used <= 0:
        wanted = 0
    elif used * limits.cover >= seconds * limits.cap:
        wanted = limits.cap
    else:
        wanted = ceil(used * limits.cover / seconds)
    bounded = max(min(wanted, last * 8), last // 2)
    return max(limits.floor, min(bounded, limits.cap))
