"""The connection to RabbitMQ; the one place that knows pika. Of the client and the worker."""

from idalloc_client.amqp._backoff import Backoff
from idalloc_client.amqp._cleartext import cleartext_warning, is_local, warn_of_cleartext
from idalloc_client.amqp._link import Link, NewLink, SideLink, Timer
from idalloc_client.amqp._link_thread import LinkThread
from idalloc_client.amqp._reason import describe, ended_by_message
from idalloc_client.amqp._url import (
    MAX_TIMEOUT,
    checked_exchange,
    checked_timeout,
    connection_parameters,
    process_name,
    relax,
    unencrypted_login,
    user_id,
    user_ids,
)

__all__ = [
    "MAX_TIMEOUT",
    "Backoff",
    "Link",
    "LinkThread",
    "NewLink",
    "SideLink",
    "Timer",
    "checked_exchange",
    "checked_timeout",
    "cleartext_warning",
    "connection_parameters",
    "describe",
    "ended_by_message",
    "is_local",
    "process_name",
    "relax",
    "unencrypted_login",
    "user_id",
    "user_ids",
    "warn_of_cleartext",
]
