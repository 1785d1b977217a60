"""Finds out of which type the partitions' queues are, from what the broker refuses.

AMQP does not tell. Whoever declares a queue as it is not is refused (406), and so is a consumer
with an argument that queues of the type do not have.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from idalloc_client.amqp import ChannelClosedByBroker, ReplyCode
from idalloc_worker.tags import (
    QUEUE_ARGUMENTS,
    QUEUES,
    QUORUM_ARGUMENTS,
    QUORUM_CONSUMER_ARGUMENTS,
    SINGLE_ACTIVE,
    SOON_GIVEN_UP,
    consumer_arguments,
)

_ABOUT_ARGUMENTS: Final = "arg '"
_ABOUT_PATIENCE: Final = f"{_ABOUT_ARGUMENTS}{next(iter(SOON_GIVEN_UP))}'"
_QUORUM_BY_DEFAULT: Final = (4, 0, 0)
"""From which release on a queue is taken for a quorum queue until the broker says otherwise.

RabbitMQ 4.0 to 4.2 does not say otherwise to a worker that may not declare. It then treats a
classic queue as if it were a quorum queue, which does no harm.
"""


@dataclass(frozen=True, slots=True)
class QueueKind:
    """A type of queue."""

    name: str
    arguments: Mapping[str, Any]
    silent: bool
    """Whether it may go from one consumer to another, and back, without a word."""

    def consumer_arguments(self, worker: str, partition: int) -> dict[str, Any]:
        """With what a worker consumes a partition."""
        if self.silent:
            return dict(QUORUM_CONSUMER_ARGUMENTS)
        return consumer_arguments(worker, partition)


CLASSIC: Final = QueueKind("classic", QUEUE_ARGUMENTS, silent=False)
QUORUM: Final = QueueKind("quorum", QUORUM_ARGUMENTS, silent=True)
PLAIN_QUORUM: Final = QueueKind(
    "plain quorum", {"x-queue-type": "quorum", **SINGLE_ACTIVE}, silent=True
)
"""As workers make them where that is the virtual host's default."""


class KindOfQueues:
    """Owned by the link's thread; what it has learnt outlives connections."""

    def __init__(self) -> None:
        self.kind = CLASSIC
        self._certain = False  # it has been consumed with, or refused as the other one
        self._exist = False
        self._asked: Mapping[str, Any] = {}
        self._refused: set[str] = set()

    def begin(self, release: tuple[int, int, int] | None) -> None:
        """Guess, on a broker of this release, where nothing is known."""
        self._asked = {}
        if not self._certain and not self._refused:
            self.kind = QUORUM if release and release >= _QUORUM_BY_DEFAULT else CLASSIC

    def declarations(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """List the queues, and with what to declare each.

        First what is missing is made, of the virtual host's default type; then what there is is
        compared.
        """
        passes = [self.kind.arguments] if self._exist else [SINGLE_ACTIVE, self.kind.arguments]
        for self._asked in passes:
            for queue in QUEUES:
                yield queue, self._asked
        self._exist = True

    def refused(self, reason: BaseException) -> bool:
        """Take in why a channel ended; True if another attempt may fare better."""
        if not is_about_arguments(reason):
            return False
        if self._asked is SINGLE_ACTIVE and not self._exist:
            self._exist = True  # a queue is of another type than the default
            return True
        self._refused.add(self.kind.name)
        other = self._other(str(reason))
        if other.name in self._refused:
            self._refused.clear()
            self._certain = self._exist = False
            return False
        self.kind = other
        return True

    def _other(self, told: str) -> QueueKind:
        if not self.kind.silent:
            return QUORUM
        if _ABOUT_PATIENCE not in told:
            return CLASSIC
        return PLAIN_QUORUM if self.kind is QUORUM else QUORUM

    def fits(self) -> None:
        """Hear that all queues are consumed."""
        self._certain = True
        self._refused.clear()


def is_about_arguments(reason: BaseException) -> bool:
    """Whether the broker says that a queue is not as it was declared or consumed."""
    return (
        isinstance(reason, ChannelClosedByBroker)
        and reason.reply_code == ReplyCode.PRECONDITION_FAILED
        and _ABOUT_ARGUMENTS in reason.reply_text
    )
