"""Names under which a broker knows workers, for tests of what takes in messages."""

from types import SimpleNamespace
from typing import Any

from idalloc_worker.counters._counters import Events
from idalloc_worker.counters._registry import Event
from idalloc_worker.rights._fleet_gate import FleetGate
from idalloc_worker.rights._fleet_users import FleetUsers

WORKER_USER = "idalloc-worker"


def connection_of(login: str | None) -> Any:
    """Make what a login is read from; None: one without a name, such as a certificate's."""
    credentials = SimpleNamespace() if login is None else SimpleNamespace(username=login)
    return SimpleNamespace(params=SimpleNamespace(credentials=credentials))


def logged_in(login: str | None = WORKER_USER, *, names: tuple[str, ...] = ()) -> FleetUsers:
    """Make the users of a worker that has just connected."""
    users = FleetUsers(names)
    users.log_in(connection_of(login))
    return users


def gate(users: FleetUsers | None = None, counters: Events | None = None) -> FleetGate:
    """Make the gate of such a worker."""
    counters = dict.fromkeys(Event, 0) if counters is None else counters
    return FleetGate(users or logged_in(), counters, lambda: 0.0)
