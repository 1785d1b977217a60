"""Clusters of RabbitMQ and of databases, whose nodes tests kill, freeze and start again."""

from devstack.clusters._broker_cluster import BrokerCluster
from devstack.clusters._database import (
    DatabaseCluster,
    DatabaseNode,
    connections_to,
    node_in_use,
    url_of,
    wait_until_whole,
)
from devstack.clusters._galera import GaleraCluster, GaleraNode, find_galera
from devstack.clusters._given_rabbitmq import GivenRabbitMqCluster, running_rabbitmq_cluster
from devstack.clusters._group_replication import GROUP_URL, GroupReplication
from devstack.clusters._rabbitmq import RabbitMqCluster

__all__ = [
    "GROUP_URL",
    "BrokerCluster",
    "DatabaseCluster",
    "DatabaseNode",
    "GaleraCluster",
    "GaleraNode",
    "GivenRabbitMqCluster",
    "GroupReplication",
    "RabbitMqCluster",
    "connections_to",
    "find_galera",
    "node_in_use",
    "running_rabbitmq_cluster",
    "url_of",
    "wait_until_whole",
]
