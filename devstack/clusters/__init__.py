"""Clusters of RabbitMQ and of MariaDB, whose nodes tests kill, freeze and start again."""

from devstack.clusters._galera import GaleraCluster, find_galera
from devstack.clusters._rabbitmq import RabbitMqCluster

__all__ = ["GaleraCluster", "RabbitMqCluster", "find_galera"]
