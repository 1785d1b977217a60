"""Every counter of a worker process: its name, and what it counts in one sentence.

`id.health` shows all of them, Prometheus those that have a metric. docs/health.md and
docs/monitoring.md say the same sentences, which a test sees to.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Self

from idalloc_schemas import ALLOC_QUEUE, HEALTH_QUEUE, RespCode

ORDERED_QUEUES: Final = "id.ordered"
"""All of them together. What comes in on them came in on `id.alloc` before, and is counted there:
but not what no worker wrote."""

_BOTH: Final = (ALLOC_QUEUE, HEALTH_QUEUE)
_NO_METRIC: Final = ""


class Event(StrEnum):
    """What happens to a process: its name, its sentence, and its metric, if that is not its name.

    A metric has `idalloc_` before it.
    """

    help: str
    metric: str

    def __new__(cls, name: str, sentence: str, metric: str | None = None) -> Self:
        event = str.__new__(cls, name)
        event._value_, event.help = name, sentence
        event.metric = name if metric is None else metric
        return event

    REQUESTS = "requests", "Requests that came in.", _NO_METRIC  # counted as they end: see Outcome
    WAITED = "waited", "Requests for ids that had to wait for a refill.", "requests_waited"
    REDELIVERED = "redelivered", "Requests that the broker delivered again.", "requests_redelivered"
    FORWARDED = "forwarded", "Requests passed on to owners of ordered tags.", "ordered_forwarded"
    OWNED = "owned", "Requests received as the owner of an ordered tag.", "ordered_owned"
    UNROUTABLE = "unroutable", "Requests that no owner's queue accepted.", "ordered_unroutable"
    GENERATIONS = (
        "generations",
        "Times that ids held for ordered tags were dropped because their channel had ended.",
        "ordered_generations",
    )
    REFILLS = "refills", "Refills that brought a segment."
    # Metrics have those that brought none by their reason: see REFILL_FAILURES.
    REFILLS_FAILED = "refills_failed", "Refills that failed.", _NO_METRIC
    REFILLS_REFUSED = "refills_refused", "Refills refused: no row, a bad row or no ids.", _NO_METRIC
    REFILLS_FORBIDDEN = "refills_forbidden", "Refills for users without the right.", _NO_METRIC
    REFILLS_UNKNOWN = (
        "refills_unknown",
        "Refills whose commit has an unknown outcome; their ids are counted as lost.",
    )
    TAGS_MADE = "tags_made", "Rows made for app tags that were used for the first time."
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
        "Times that another worker had ids of this one: some may have gone out twice.",
    )
    MARKS_IMPLAUSIBLE = (
        "marks_implausible",
        "Times that a row was not raised because the announced mark is too far above it.",
    )
    MEMORY_SET_BACK = (
        "memory_set_back",
        "Times that the process dropped all its ids, as it was restored from a snapshot or copied.",
    )
    # idalloc_marks_in_broker says whether it can be used now.
    MARKS_UNREAD = "marks_unread", "Times that the stream of marks could not be used.", _NO_METRIC
    # Metrics count the ids, as given back or lost.
    GIVE_BACKS = "give_backs", "Ranges of ids that a stopping worker returned.", _NO_METRIC
    GIVE_BACKS_FAILED = "give_backs_failed", "Ranges that could not be returned.", _NO_METRIC
    FLEET_JOINS = "fleet_joins", "Times that the worker joined the fleet.", _NO_METRIC
    FLEET_REFUSED = "fleet_refused", "Times that it was not allowed to join.", _NO_METRIC
    FLEET_INVALID = "fleet_invalid", "Messages of workers that it could not read.", _NO_METRIC
    FLEET_GAPS = "fleet_gaps", "Times that the worker missed messages of others and joined anew."
    FOREIGN_MESSAGES = (
        "foreign_messages",
        "Messages in the queues between workers that no worker sent; they are not read.",
    )
    POISON_SET_ASIDE = (
        "poison_set_aside",
        "Messages that ended the connection they were delivered to, and were removed.",
    )
    CONNECTS = "connects", "Channels opened.", _NO_METRIC  # idalloc_broker_reconnects: all but one
    BLOCKED = "blocked", "Times that the broker began to block publishers.", "broker_blocks"


class Outcome(StrEnum):
    """How a request ends: its name, its sentence, and the queues where that can be expected.

    Prometheus has them as `idalloc_requests`; health adds the queues up.
    """

    help: str
    queues: tuple[str, ...]

    def __new__(cls, name: str, sentence: str, *queues: str) -> Self:
        outcome = str.__new__(cls, name)
        outcome._value_, outcome.help, outcome.queues = name, sentence, queues
        return outcome

    GRANTED = "granted", "Requests answered with ids.", ALLOC_QUEUE
    ANSWERED = "answered", "Health requests that were answered.", HEALTH_QUEUE
    NO_AVAILABLE_ID = "no_available_id", "Requests answered NO_AVAILABLE_ID.", ALLOC_QUEUE
    INVALID_REQUEST = "invalid_request", "Requests answered INVALID_REQUEST.", *_BOTH
    APP_TAG_NOT_FOUND = "app_tag_not_found", "Requests answered APP_TAG_NOT_FOUND.", *_BOTH
    EXHAUSTED = "exhausted", "Requests answered EXHAUSTED.", ALLOC_QUEUE
    FORBIDDEN = "forbidden", "Requests answered FORBIDDEN.", *_BOTH
    BUSY = "busy", "Requests answered BUSY, whoever had sent them.", ALLOC_QUEUE
    SHUTTING_DOWN = "shutting_down", "Requests answered SHUTTING_DOWN.", ALLOC_QUEUE
    INTERNAL = "internal", "Requests answered INTERNAL.", *_BOTH
    LIMITED = "limited", "Requests answered BUSY because their user exceeded its share.", *_BOTH
    EXPIRED = "expired", "Requests past their deadline.", *_BOTH
    DEAD_LETTERED = "dead_lettered", "Requests without a reply address.", *_BOTH, ORDERED_QUEUES
    HANDED_BACK = "handed_back", "Requests put back into the queue at a stop.", ALLOC_QUEUE
    DOUBTED = "doubted", "Requests put back after the process had been stalled.", ALLOC_QUEUE
    DROPPED = "dropped", "Health requests not answered, as their user sent too many.", HEALTH_QUEUE


REFUSED: Final[Mapping[RespCode, Outcome]] = {
    code: Outcome[code.name] for code in RespCode if code is not RespCode.SUCCESS
}
"""How a request ends that is answered with a code."""
