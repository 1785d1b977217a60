"""Until when a caller waits for its answer, as its message says."""

from math import inf

from idalloc_client.amqp import Properties


def deadline_of(properties: Properties, came: float) -> float:
    """Tell it in monotonic seconds: the caller's clock is not ours, so it counts from delivery."""
    expiration = properties.expiration
    if not expiration:
        return inf
    try:
        return came + int(expiration) / 1000
    except ValueError:
        return inf
