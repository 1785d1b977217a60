"""All attacks, and what each of them needs and may cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.attacks import floods, forgeries, resources
from tests.attacks.intruder import Intruder

WORKER_MEGABYTES: Final = 50.0
"""By how much a worker's memory may grow."""


@dataclass(frozen=True)
class Attack:
    """One way to do harm.

    Args:
        run: what the attacker does, until its time is up.
        broker_from: the lowest major version of RabbitMQ that takes it.
        reconnect: whether the workers lose their connections meanwhile, as in any week.
        newcomer: whether a worker that starts afterwards has to serve.
        spares: a tag that must have most of its ids left.
        recovers_within: seconds in which honest calls may fail, since a broker's fault stops them.
    """

    run: Callable[[Intruder], None]
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


ATTACKS: Final = (
    Attack(floods.singles),
    Attack(floods.singles_by_pika),
    Attack(floods.expired),
    Attack(floods.exhaustion, spares=floods.VICTIM_TAG),
    Attack(floods.small_steps),
    Attack(floods.spent),
    Attack(floods.forbidden),
    Attack(floods.unknown_tags),
    Attack(floods.large_requests),
    Attack(floods.large_unanswerable),
    Attack(floods.deep_headers),
    Attack(floods.flood_of_deep_headers),
    Attack(floods.fleet_health),
    Attack(floods.health),
    Attack(floods.health_unread),
    Attack(floods.health_into_a_queue),
    Attack(floods.ids_into_a_queue),
    Attack(floods.ids_unread),
    Attack(forgeries.bundles),
    Attack(forgeries.bundles_that_take, spares=forgeries.ORDERED_VICTIM),
    Attack(forgeries.large_bundles),
    Attack(forgeries.flood_of_ordered),
    Attack(forgeries.fleet_messages, reconnect=True),
    Attack(forgeries.flood_of_fleet_queues),
    Attack(forgeries.flood_of_marks, newcomer=True),
    Attack(forgeries.large_marks, newcomer=True),
    Attack(forgeries.flood_of_dead_letters),
    Attack(forgeries.replies_in_circles),
    Attack(forgeries.malformed_reply_to, recovers_within=10.0),
    Attack(forgeries.poison, broker_from=4, recovers_within=10.0),
    Attack(resources.connection_churn),
    Attack(resources.many_connections),
    Attack(resources.channel_churn),
    Attack(resources.slow_scrapes, reconnect=True),
)

BY_NAME: Final[Mapping[str, Attack]] = {attack.name: attack for attack in ATTACKS}
