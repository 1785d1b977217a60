"""Says who is told what about health: operators all, everybody else what they may draw from.

Who asks is what RabbitMQ vouches for, the property `user_id`. Who sends none has the least rights.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from idalloc_worker.engine import TagPool
from idalloc_worker.rights._fleet_users import FleetUsers


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks, None if the broker vouches for nobody."""

    user: str | None
    operator: bool = False

    def sees(self, pools: Iterable[TagPool | None]) -> bool:
        """Whether it may be told of a tag that is in these pools."""
        return self.operator or all(pool is None or self._may_draw(pool) for pool in pools)

    def _may_draw(self, pool: TagPool) -> bool:
        # What was handed out of a tag whose row is gone is still nobody else's business.
        last = pool.settings.allowed_users if pool.settings is not None else None
        return pool.allows(self.user) and (last is None or self.user in last)

    def among(self, named: Collection[str]) -> "Viewer":
        """Tell whose list it is told, where only the users in `named` have any of their own."""
        if self.operator:
            return _AN_OPERATOR
        return self if self.user in named else NOBODY


NOBODY = Viewer(None)
_AN_OPERATOR = Viewer(None, operator=True)


class HealthRights:
    """Owned by the link's thread. `operators` are RabbitMQ's users that are told everything.

    So are those that workers log in as: they read all requests and all that workers say.
    """

    def __init__(self, users: FleetUsers, operators: Iterable[str] = ()) -> None:
        self.users = users
        self._operators = frozenset(operators)

    def viewer(self, user: str | None) -> Viewer:
        """Tell who a user is here."""
        operator = user is not None and (
            user in self._operators or self.users.trusts(user.encode())
        )
        return Viewer(user, operator)
