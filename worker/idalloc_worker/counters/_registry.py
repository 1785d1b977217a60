"""Every counter of a worker process: its name, and what it counts in one sentence.

`id.health` shows all of them, and Prometheus those with a metric. docs/operating.md and
docs/monitoring.md have the same sentences, which a test sees to.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE, RespCode

ORDERED_QUEUES: Final = "id.ordered"
"""All of them together. What comes in on them came in on `id.alloc` before, and is counted there:
but not what no worker wrote."""

_BOTH: Final = (ALLOC_QUEUE, HEALTH_QUEUE)
_ANY: Final = (*_BOTH, ORDERED_QUEUES)
_NO_METRIC: Final = ""


class Event(StrEnum):
    """What happens to a process. Of each: its name, its sentence, and its metric if that differs.

    The metric of a name is `idalloc_<name>`.
    """

    help: str
    metric: str

    def __new__(cls, name: str, sentence: str, metric: str | None = None) -> Self:
        event = str.__new__(cls, name)
        event._value_ = name
        event.help = sentence
        event.metric = f"idalloc_{name}" if metric is None else metric
        return event

    REQUESTS = "requests", "Requests that came in.", _NO_METRIC  # shown as they end: see Outcome
    WAITED = (
        "waited",
        "Requests for ids that had to wait for a refill.",
        "idalloc_requests_waited",
    )
    REDELIVERED = (
        "redelivered",
        "Requests that the broker delivered again, because whoever had them before was lost.",
        "idalloc_requests_redelivered",
    )
    FORWARDED = (
        "forwarded",
        "Requests for ordered tags that were passed on to the owners of their partitions.",
        "idalloc_ordered_forwarded",
    )
    OWNED = (
        "owned",
        "Requests for ordered tags that were taken as the owner of their partition.",
        "idalloc_ordered_owned",
    )
    UNROUTABLE = (
        "unroutable",
        "Requests for ordered tags that the queue of their partition did not take.",
        "idalloc_ordered_unroutable",
    )
    GENERATIONS = (
        "generations",
        "Times that what was held for ordered tags was dropped, as its channel had ended.",
        "idalloc_ordered_generations",
    )
    REFILLS = "refills", "Refills that brought a segment."
    # Failures and refusals are shown by their reason: see REFILL_FAILURES.
    REFILLS_FAILED = "refills_failed", "Refills that failed.", _NO_METRIC
    REFILLS_REFUSED = (
        "refills_refused",
        "Refills that found no row, a bad one or no ids left.",
        _NO_METRIC,
    )
    REFILLS_FORBIDDEN = (
        "refills_forbidden",
        "Rows read for a user who may not draw, with nothing reserved.",
        _NO_METRIC,
    )
    REFILLS_UNKNOWN = (
        "refills_unknown",
        "Refills whose commit has an unknown outcome; their ids are counted as lost.",
    )
    REWINDS_REPAIRED = (
        "rewinds_repaired",
        "Rows found below ids that were handed out already, and raised above them again.",
    )
    CLAIMS_CONTESTED = (
        "claims_contested",
        "Segments dropped because another worker had reserved some of the same ids.",
    )
    CLAIMS_UNPROTECTED = (
        "claims_unprotected",
        "Segments used without asking the other workers, because the broker refuses that.",
    )
    OVERLAPS_HEARD = (
        "overlaps_heard",
        (
            "Times that another worker was heard to have ids that this one had: some may have "
            "gone out twice."
        ),
    )
    MARKS_IMPLAUSIBLE = (
        "marks_implausible",
        (
            "Times that a row was not raised because what others say lies too far above it; the "
            "tag waits for an operator."
        ),
    )
    MEMORY_SET_BACK = (
        "memory_set_back",
        (
            "Times that the process found itself restored from a snapshot, or copied, and dropped "
            "all that it held."
        ),
    )
    MARKS_UNREAD = (
        "marks_unread",
        "Times that the stream `id.fleet.marks` could not be used.",
        _NO_METRIC,  # idalloc_marks_in_broker says whether it can be now
    )
    # Metrics count the ids: idalloc_ids_given_back, and idalloc_ids_lost.
    GIVE_BACKS = "give_backs", "Ranges returned to their rows at a stop.", _NO_METRIC
    GIVE_BACKS_FAILED = (
        "give_backs_failed",
        "Ranges not returned at a stop, because somebody had reserved since.",
        _NO_METRIC,
    )
    FLEET_JOINS = "fleet_joins", "Times that the worker joined the fleet.", _NO_METRIC
    FLEET_REFUSED = (
        "fleet_refused",
        "Times that it was not allowed to join the fleet.",
        _NO_METRIC,  # idalloc_claims_unprotected says what comes of it
    )
    FLEET_INVALID = (
        "fleet_invalid",
        "Messages of other workers that it could not read.",
        _NO_METRIC,
    )
    FLEET_GAPS = (
        "fleet_gaps",
        (
            "Times that the worker missed messages of others, which RabbitMQ had dropped from its "
            "queue, and joined anew to read them."
        ),
    )
    FOREIGN_MESSAGES = (
        "foreign_messages",
        "Messages in the queues between workers that no worker sent; they are not read.",
    )
    POISON_SET_ASIDE = (
        "poison_set_aside",
        "Messages that ended the connection that they were delivered to, and are gone.",
    )
    CONNECTS = "connects", "Channels opened.", _NO_METRIC  # idalloc_broker_reconnects: all but one
    BLOCKED = (
        "blocked",
        "Times that the broker began to take no messages.",
        "idalloc_broker_blocks",
    )


class Outcome(StrEnum):
    """How a request ends. Of each: its name, its sentence, and the queues where it can be expected.

    Prometheus has them as `idalloc_requests`; health adds the queues up.
    """

    help: str
    queues: tuple[str, ...]

    def __new__(cls, name: str, sentence: str, queues: tuple[str, ...]) -> Self:
        outcome = str.__new__(cls, name)
        outcome._value_ = name
        outcome.help = sentence
        outcome.queues = queues
        return outcome

    GRANTED = "granted", "Requests answered with ids.", (ALLOC_QUEUE,)
    ANSWERED = "answered", "Questions about health that were answered.", (HEALTH_QUEUE,)
    NO_AVAILABLE_ID = "no_available_id", "Requests answered NO_AVAILABLE_ID.", (ALLOC_QUEUE,)
    INVALID_REQUEST = "invalid_request", "Requests answered INVALID_REQUEST.", _BOTH
    APP_TAG_NOT_FOUND = "app_tag_not_found", "Requests answered APP_TAG_NOT_FOUND.", _BOTH
    EXHAUSTED = "exhausted", "Requests answered EXHAUSTED.", (ALLOC_QUEUE,)
    FORBIDDEN = "forbidden", "Requests answered FORBIDDEN.", _BOTH
    BUSY = "busy", "Requests answered BUSY as anybody would have been.", (ALLOC_QUEUE,)
    SHUTTING_DOWN = "shutting_down", "Requests answered SHUTTING_DOWN.", (ALLOC_QUEUE,)
    INTERNAL = "internal", "Requests answered INTERNAL.", _BOTH
    LIMITED = "limited", "Requests answered BUSY as beyond the share of their user.", _BOTH
    EXPIRED = "expired", "Requests past their deadline.", _BOTH
    DEAD_LETTERED = "dead_lettered", "Requests without a usable reply address.", _ANY
    HANDED_BACK = "handed_back", "Requests returned to the queue at a stop.", (ALLOC_QUEUE,)
    DOUBTED = (
        "doubted",
        "Requests returned to the queue after the process had been stalled.",
        (ALLOC_QUEUE,),
    )
    DROPPED = (
        "dropped",
        "Questions about health not answered because their user had asked too many.",
        (HEALTH_QUEUE,),
    )


REFUSED: Final[Mapping[RespCode, Outcome]] = {
    code: Outcome[code.name] for code in RespCode if code is not RespCode.SUCCESS
}
"""How a request ends that is answered with a code."""
