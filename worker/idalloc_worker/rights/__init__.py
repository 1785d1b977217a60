"""Who may speak for the fleet, and who may see what."""

from idalloc_worker.rights._fleet_gate import FleetGate
from idalloc_worker.rights._fleet_users import FleetUsers
from idalloc_worker.rights._health_rights import HealthRights, Viewer
from idalloc_worker.rights._listing import Steps, listing, named_users

__all__ = [
    "FleetGate",
    "FleetUsers",
    "HealthRights",
    "Steps",
    "Viewer",
    "listing",
    "named_users",
]
