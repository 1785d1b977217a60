"""Notices a copy of this process: somebody who speaks under its key, and is not it.

A virtual machine or a container that is restored from a snapshot goes on with the memory that it
had then, while the one that the snapshot was taken of may have handed out ids since, or still run.
"""

from collections import Counter, deque

from idalloc_schemas import Hello, Reserved


class OwnMessages:
    """What was sent through the exchange, each to be heard once; owned by the link's thread."""

    def __init__(self) -> None:
        self._claims: Counter[tuple[str, int]] = Counter()
        self._earlier: Counter[tuple[str, int]] = Counter()
        self._queues: deque[str] = deque(maxlen=2)

    def renew(self, queue: str) -> None:
        """Begin with another queue; what was sent before may still come, or be lost."""
        self._claims, self._earlier = Counter(), self._claims
        if queue not in self._queues:
            self._queues.append(queue)

    def sent(self, claim: Reserved) -> None:
        """Note what is sent."""
        self._claims[claim.app_tag, claim.left] += 1

    def awaits(self, app_tag: str, left: int) -> bool:
        """Tell whether a claim that was sent over the present queue has not come back to it."""
        return bool(self._claims[app_tag, left])

    def heard(self, message: Reserved | Hello) -> bool:
        """Tell whether a message under this worker's key is its own."""
        if isinstance(message, Hello):
            return message.reply_to in self._queues
        claim = message.app_tag, message.left
        for sent in (self._claims, self._earlier):
            if sent[claim]:
                sent[claim] -= 1
                if not sent[claim]:
                    del sent[claim]
                return True
        return False
