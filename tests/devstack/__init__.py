"""Gives a running RabbitMQ and a running MySQL to the tests, to `make demo` and to `make up`."""

from tests.devstack._database import Database, scratch_database
from tests.devstack._errors import DevStackError, NotInstalledError, ServerFailedError
from tests.devstack._guarded import Guarded
from tests.devstack._management import Management, scratch_vhost
from tests.devstack._mysql import PrivateMySql
from tests.devstack._rabbitmq import PrivateRabbitMq
from tests.devstack._replication import ReplicatedPair, set_read_only
from tests.devstack._stack import (
    Stack,
    private_mysql,
    private_rabbitmq,
    replicated_pair,
    running_stack,
)
from tests.devstack.proxy import TcpProxy

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
]
