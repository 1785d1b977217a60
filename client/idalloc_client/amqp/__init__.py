"""The connection to RabbitMQ; the one place that knows pika. Of the client and the worker."""

from idalloc_client.amqp._backoff import Backoff
from idalloc_client.amqp._broker_url import process_name, relax
from idalloc_client.amqp._brokers import shuffled, spread
from idalloc_client.amqp._cleartext import cleartext_warning, is_local, warn_of_cleartext
from idalloc_client.amqp._confirms import Confirms
from idalloc_client.amqp._host_choice import HostChoice
from idalloc_client.amqp._io import (
    AsyncioSelectorLoop,
    Callback,
    Envelope,
    MessageChannel,
    Properties,
    ignore_message_headers,
    stream_offset,
    user_of,
)
from idalloc_client.amqp._link import GOODBYE_TIME, Link, NewLink, SideLink, Timer, nothing
from idalloc_client.amqp._link_thread import LinkThread
from idalloc_client.amqp._pika import (
    AMQPError,
    Basic,
    BasicProperties,
    Channel,
    ChannelClosedByBroker,
    Connection,
    ConnectionClosed,
    DeliveryMode,
    Parameters,
)
from idalloc_client.amqp._reason import ReplyCode, describe, ended_by_message
from idalloc_client.amqp._reopening_channel import ReopeningChannel
from idalloc_client.amqp._server_url import (
    ServerUrl,
    decoded,
    login_apart,
    split_server_urls,
    unknown_options,
    with_password,
)
from idalloc_client.amqp._url import (
    MAX_TIMEOUT,
    Brokers,
    checked_exchange,
    checked_timeout,
    connection_parameters,
    unencrypted_logins,
    user_id,
    user_ids,
)
from idalloc_client.amqp._url_source import LastGood, UrlFile, UrlSource, read_secret, text_of

__all__ = [
    "GOODBYE_TIME",
    "MAX_TIMEOUT",
    "AMQPError",
    "AsyncioSelectorLoop",
    "Backoff",
    "Basic",
    "BasicProperties",
    "Brokers",
    "Callback",
    "Channel",
    "ChannelClosedByBroker",
    "Confirms",
    "Connection",
    "ConnectionClosed",
    "DeliveryMode",
    "Envelope",
    "HostChoice",
    "LastGood",
    "Link",
    "LinkThread",
    "MessageChannel",
    "NewLink",
    "Parameters",
    "Properties",
    "ReopeningChannel",
    "ReplyCode",
    "ServerUrl",
    "SideLink",
    "Timer",
    "UrlFile",
    "UrlSource",
    "checked_exchange",
    "checked_timeout",
    "cleartext_warning",
    "connection_parameters",
    "decoded",
    "describe",
    "ended_by_message",
    "ignore_message_headers",
    "is_local",
    "login_apart",
    "nothing",
    "process_name",
    "read_secret",
    "relax",
    "shuffled",
    "split_server_urls",
    "spread",
    "stream_offset",
    "text_of",
    "unencrypted_logins",
    "unknown_options",
    "user_id",
    "user_ids",
    "user_of",
    "warn_of_cleartext",
    "with_password",
]
