"""Sets a broker up for idalloc: users, rights, limits and policies."""

from idalloc_worker.broker_setup._api import BrokerApi, api_url
from idalloc_worker.broker_setup._apply import apply
from idalloc_worker.broker_setup._definitions import Broker, Callers
from idalloc_worker.broker_setup._password import given, hashed, new_password, variable_of
from idalloc_worker.broker_setup._topology import topology

__all__ = [
    "Broker",
    "BrokerApi",
    "Callers",
    "api_url",
    "apply",
    "given",
    "hashed",
    "new_password",
    "topology",
    "variable_of",
]
