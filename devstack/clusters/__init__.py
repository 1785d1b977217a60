"""Clusters of RabbitMQ and of MariaDB, whose nodes tests kill, freeze and start again."""

from devstack.clusters._broker_cluster import BrokerCluster
from devstack.clusters._galera import GaleraCluster, find_galera
from devstack.clusters._given_rabbitmq import GivenRabbitMqCluster
from devstack.clusters._rabbitmq import RabbitMqCluster

__all__ = [
    "BrokerCluster",
    "GaleraCluster",
    "GivenRabbitMqCluster",
    "RabbitMqCluster",
    "find_galera",
]
