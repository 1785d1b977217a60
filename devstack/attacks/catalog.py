"""All attacks, and what each of them needs and may cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from devstack.attacks import floods, forgeries, resources
from devstack.attacks.intruder import Intruder
from idalloc_schemas import MARKS_STREAM
from idalloc_worker.tags._partitions import QUEUES

WORKER_MEGABYTES: Final = 50.0
"""By how much a worker's memory may grow."""


@dataclass(frozen=True)
class Attack:
    """One way to do harm.

    Args:
        run: what the attacker does, until its time is up.
        fills: the queues that it writes to, which may hold what their policies allow.
        broker_from: the lowest major version of RabbitMQ that takes it.
        reconnect: whether the workers lose their connections meanwhile, as in any week.
        newcomer: whether a worker that starts afterwards has to serve.
        spares: a tag that must have most of its ids left.
        recovers_within: seconds in which honest calls may fail, since a broker's fault stops them.
    """

    run: Callable[[Intruder], None]
    fills: tuple[str, ...]
    broker_from: int = 3
    reconnect: bool = False
    newcomer: bool = False
    spares: str | None = None
    recovers_within: float = 0.0

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def what(self) -> str:
        """Say in a sentence what it does."""
        return (self.run.__doc__ or "").strip()


_ALLOC: Final = (floods.ALLOC, "id.dead")
_HEALTH: Final = (floods.HEALTH, "id.dead")
_ORDERED: Final = (*QUEUES, "id.dead")
_ALL: Final = (floods.ALLOC, floods.HEALTH, *_ORDERED)
_MARKS: Final = (MARKS_STREAM,)
_NONE: Final = ()

ATTACKS: Final = (
    Attack(floods.singles, _ALLOC),
    Attack(floods.singles_by_pika, _ALLOC),
    Attack(floods.expired, _ALLOC),
    Attack(floods.exhaustion, _ALLOC, spares=floods.VICTIM_TAG),
    Attack(floods.small_steps, _ALLOC),
    Attack(floods.spent, _ALLOC),
    Attack(floods.forbidden, _ALLOC),
    Attack(floods.unknown_tags, _ALLOC),
    Attack(floods.large_requests, _ALLOC),
    Attack(floods.large_unanswerable, _ALLOC),
    Attack(floods.deep_headers, _ALLOC),
    Attack(floods.flood_of_deep_headers, _ALLOC),
    Attack(floods.traced, _ALLOC),
    Attack(floods.fleet_health, _HEALTH),
    Attack(floods.health, _HEALTH),
    Attack(floods.health_unread, _NONE),
    Attack(floods.health_into_a_queue, _NONE),
    Attack(floods.ids_into_a_queue, (*_ALLOC, floods.OTHERS_QUEUE)),
    Attack(floods.ids_unread, _NONE),
    Attack(forgeries.bundles, _ORDERED),
    Attack(forgeries.bundles_that_take, _ORDERED, spares=forgeries.ORDERED_VICTIM),
    Attack(forgeries.large_bundles, _ORDERED),
    Attack(forgeries.flood_of_ordered, _ORDERED),
    Attack(forgeries.singles_to_an_owner, _ORDERED),
    Attack(forgeries.exhaustion_at_an_owner, _ORDERED, spares=forgeries.ORDERED_VICTIM),
    Attack(forgeries.singles_to_another_owner, _ORDERED),
    Attack(forgeries.fleet_messages, _NONE, reconnect=True),
    Attack(forgeries.flood_of_fleet_queues, _NONE),
    Attack(forgeries.flood_of_marks, _MARKS, newcomer=True),
    Attack(forgeries.large_marks, _MARKS, newcomer=True),
    Attack(forgeries.flood_of_dead_letters, _ALLOC),
    Attack(forgeries.replies_in_circles, _ALL),
    Attack(forgeries.malformed_reply_to, _ALL, recovers_within=10.0),
    Attack(forgeries.poison, _NONE, broker_from=4, recovers_within=10.0),
    Attack(resources.connection_churn, _NONE),
    Attack(resources.many_connections, _NONE),
    Attack(resources.channel_churn, _NONE),
    Attack(resources.slow_scrapes, _NONE, reconnect=True),
)

BY_NAME: Final[Mapping[str, Attack]] = {attack.name: attack for attack in ATTACKS}
