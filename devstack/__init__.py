"""Gives a running RabbitMQ and a running MySQL to the tests, to `make demo` and to `make up`."""

from devstack.proxy import TcpProxy
from devstack.servers._database import Database, scratch_database
from devstack.servers._errors import DevStackError, NotInstalledError, ServerFailedError
from devstack.servers._guarded import Guarded
from devstack.servers._management import Management, scratch_vhost
from devstack.servers._mysql import PrivateMySql
from devstack.servers._rabbitmq import PrivateRabbitMq
from devstack.servers._replication import ReplicatedPair, set_read_only
from devstack.servers._shared import shared_stack, stack_on_demand
from devstack.servers._stack import (
    Stack,
    private_mysql,
    private_rabbitmq,
    replicated_pair,
    running_stack,
)

__all__ = [
    "Database",
    "DevStackError",
    "Guarded",
    "Management",
    "NotInstalledError",
    "PrivateMySql",
    "PrivateRabbitMq",
    "ReplicatedPair",
    "ServerFailedError",
    "Stack",
    "TcpProxy",
    "private_mysql",
    "private_rabbitmq",
    "replicated_pair",
    "running_stack",
    "scratch_database",
    "scratch_vhost",
    "set_read_only",
    "shared_stack",
    "stack_on_demand",
]
