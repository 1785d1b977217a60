"""Who counts as a worker: what the broker vouches for, looked at before anything else of a message.

Any caller may write to every queue whose name it knows, those between workers included. RabbitMQ
refuses a message (406) whose property `user_id` is not the name that its sender goes by there, so
this one property tells a worker's message from a caller's.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any, Final

from idalloc_client.amqp import ChannelClosedByBroker, ReplyCode

_log = logging.getLogger("idalloc.fleet")

_PROPERTY: Final = "user_id"
_KNOWN_AS: Final = re.compile(r"authenticated user was '(.+)'", re.DOTALL)
_LONGEST: Final = 255  # bytes: AMQP's limit for a property
_NOBODY: Final = "?"
"""Claimed where a login has no name (a certificate's): the broker says then how it calls it."""


class FleetUsers:
    """Owned by the link's thread; `names` are those that the fleet's workers go by.

    This worker's own name needs no mention: most fleets have one for all.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._named = frozenset(name.encode() for name in names)
        self._trusted = self._named
        self.name: str | None = None
        """What this worker's messages carry as `user_id`; None: nothing."""
        self._login: str | None = None
        """Who logged in last."""

    @property
    def user_id(self) -> bytes | None:
        """The same in bytes."""
        return None if self.name is None else self.name.encode()

    def user_id_on(self, connection: Any) -> bytes | None:
        """Tell it for a further connection, which may still be of the user of before."""
        login = _login_of(connection)
        return self.user_id if login == self._login else login.encode()

    @property
    def known(self) -> bool:
        """Whether there is a name at all to tell workers by."""
        return bool(self._trusted)

    def log_in(self, connection: Any) -> None:
        """Begin on a fresh connection: the broker may know the user by another name.

        It is that of before, as far as it was learned, unless another user logs in.
        """
        login = _login_of(connection)
        if login != self._login:
            self._login = login
            self._be(login)

    def refused(self, reason: BaseException) -> bool:
        """Take in why a channel ended; True if it was the name, and another one is used now."""
        if not (
            isinstance(reason, ChannelClosedByBroker)
            and reason.reply_code == ReplyCode.PRECONDITION_FAILED
            and _PROPERTY in reason.reply_text
        ):
            return False
        told = _KNOWN_AS.search(reason.reply_text)
        name = told[1] if told else None
        if name is None and self.name is not None and not self._named:
            _log.warning(
                "RabbitMQ knows this worker by another name than it logs in with, and does not say "
                "which: nobody can tell its messages from a caller's. Name it in "
                "IDALLOC_FLEET_USERS"
            )
        self._be(name)
        return True

    def trusts(self, user: bytes | None) -> bool:
        """Whether a message is from a worker."""
        return user in self._trusted

    def admits(self, user: bytes | None, *, from_fleet: bool) -> bool:
        """Whether a message between workers counts: `from_fleet` if through their exchange.

        Callers cannot write there. Workers of earlier versions do not say who they are; where the
        names are set, they have to.
        """
        return user in self._trusted or (from_fleet and not self._named)

    def _be(self, name: str | None) -> None:
        self.name = name
        own = frozenset() if name is None or name == _NOBODY else frozenset((name.encode(),))
        self._trusted = self._named | own


def _login_of(connection: Any) -> str:
    name = getattr(connection.params.credentials, "username", None)
    return str(name) if name and len(str(name).encode()) <= _LONGEST else _NOBODY
