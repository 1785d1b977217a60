"""The names of pika that other rooms need: nobody else imports it."""

from pika import DeliveryMode
from pika.channel import Channel
from pika.connection import Connection, Parameters
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosed
from pika.spec import Basic, BasicProperties

__all__ = [
    "AMQPError",
    "Basic",
    "BasicProperties",
    "Channel",
    "ChannelClosedByBroker",
    "Connection",
    "ConnectionClosed",
    "DeliveryMode",
    "Parameters",
]
