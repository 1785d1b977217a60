"""Writes the wire contract as an AsyncAPI document, from a caller's point of view."""

from typing import Any, Final

from idalloc_schemas import (
    ALLOC_QUEUE,
    ALLOC_REPLY_TYPE,
    ALLOC_REQUEST_TYPE,
    CONTENT_TYPE,
    HEALTH_QUEUE,
    HEALTH_REPLY_TYPE,
    HEALTH_REQUEST_TYPE,
    LOCAL_EXCHANGE,
    REQUEST_EXCHANGE,
)
from tests.contract._schemas import schemas

_Json = dict[str, Any]

_BINDING: Final = {"bindingVersion": "0.3.0"}
_TEXT: Final = {"type": "string", "maxLength": 255}  # an AMQP short string
_ABOUT: Final = """\
How callers in any language ask idalloc for ids. The words are in contract.md beside this folder; \
this document is generated from the package idalloc_schemas. What stands under `headers` are the \
properties of an AMQP 0-9-1 message, not its header table."""
_LOCAL: Final = """\
In a RabbitMQ 4 cluster: an exchange of the type x-local-random, which gives a request to a worker \
at the caller's own node. Send with `mandatory`, and what comes back to `id.alloc`."""


def document() -> _Json:
    """Give the whole document."""
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "idalloc",
            "version": "1.0.0",
            "description": _ABOUT,
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"rabbitmq": _server()},
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": _messages(),
            "schemas": schemas("#/components/schemas/{model}"),
            "securitySchemes": {"user": {"type": "userPassword"}},
        },
    }


def _ref(*path: str) -> _Json:
    return {"$ref": "/".join(("#", *path))}


def _server() -> _Json:
    return {
        "host": "{host}:{port}",
        "pathname": "/{vhost}",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "description": "RabbitMQ 3.10 to 4.3. With TLS: amqps, port 5671.",
        "variables": {
            "host": {"default": "localhost"},
            "port": {"default": "5672"},
            "vhost": {"default": "idalloc"},
        },
        "security": [_ref("components", "securitySchemes", "user")],
    }


def _channels() -> _Json:
    return {
        "alloc": _queue(ALLOC_QUEUE, "AllocRequest"),
        "health": _queue(HEALTH_QUEUE, "HealthRequest"),
        "allocByExchange": _exchange(ALLOC_QUEUE, "AllocRequest", REQUEST_EXCHANGE, "direct"),
        "healthByExchange": _exchange(HEALTH_QUEUE, "HealthRequest", REQUEST_EXCHANGE, "direct"),
        "allocAtOwnNode": {
            **_exchange(ALLOC_QUEUE, "AllocRequest", LOCAL_EXCHANGE),
            "description": _LOCAL,
        },
        "replies": {
            "address": None,
            "description": "The queue that the request names in `reply_to`: direct reply-to, or "
            "one of the caller's own.",
            "messages": {
                name: _ref("components", "messages", name)
                for name in ("AllocReply", "HealthReply", "ErrorReply")
            },
        },
    }


def _queue(name: str, message: str) -> _Json:
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False}
    return {
        "address": name,
        "description": "By the default exchange. Workers make the queue, callers never.",
        "messages": {message: _ref("components", "messages", message)},
        "bindings": {"amqp": {"is": "queue", "queue": queue, **_BINDING}},
    }


def _exchange(name: str, message: str, exchange: str, kind: str | None = None) -> _Json:
    described: _Json = {"name": exchange, "durable": True, "autoDelete": False}
    if kind is not None:  # the binding knows no x-local-random
        described["type"] = kind
    return {
        "address": name,
        "description": "For users who may write to this exchange and to nothing else.",
        "messages": {message: _ref("components", "messages", message)},
        "bindings": {"amqp": {"is": "routingKey", "exchange": described, **_BINDING}},
    }


def _operations() -> _Json:
    asked = {
        "alloc": ("AllocRequest", "AllocReply"),
        "health": ("HealthRequest", "HealthReply"),
        "allocByExchange": ("AllocRequest", "AllocReply"),
        "healthByExchange": ("HealthRequest", "HealthReply"),
        "allocAtOwnNode": ("AllocRequest", "AllocReply"),
    }
    return {channel: _operation(channel, *messages) for channel, messages in asked.items()}


def _operation(channel: str, request: str, reply: str) -> _Json:
    return {
        "action": "send",
        "channel": _ref("channels", channel),
        "messages": [_ref("channels", channel, "messages", request)],
        "bindings": {"amqp": {"mandatory": True, "deliveryMode": 1, **_BINDING}},
        "reply": {
            "address": {"location": "$message.header#/reply_to"},
            "channel": _ref("channels", "replies"),
            "messages": [
                _ref("channels", "replies", "messages", name) for name in (reply, "ErrorReply")
            ],
        },
    }


def _messages() -> _Json:
    return {
        "AllocRequest": _message("AllocRequest", ALLOC_REQUEST_TYPE, _request_properties()),
        "HealthRequest": _message("HealthRequest", HEALTH_REQUEST_TYPE, _request_properties()),
        "AllocReply": _message("AllocReply", ALLOC_REPLY_TYPE, _reply_properties()),
        "HealthReply": _message("HealthReply", HEALTH_REPLY_TYPE, _reply_properties()),
        "ErrorReply": _message("ErrorReply", None, _reply_properties()),
    }


def _message(name: str, kind: str | None, properties: _Json) -> _Json:
    message: _Json = {
        "name": kind or "error reply, of either type",
        "contentType": CONTENT_TYPE,
        "correlationId": {"location": "$message.header#/correlation_id"},
        "headers": properties,
        "payload": _ref("components", "schemas", name),
    }
    if kind:
        message["bindings"] = {"amqp": {"messageType": kind, **_BINDING}}
    return message


def _request_properties() -> _Json:
    return {
        "type": "object",
        "required": ["reply_to"],
        "properties": {
            "reply_to": {
                **_TEXT,
                "description": "Where the answer goes; amq.rabbitmq.reply-to is the fast one.",
            },
            "correlation_id": {**_TEXT, "description": "Comes back unchanged."},
            "expiration": {
                "type": "string",
                "pattern": "^[0-9]+$",
                "description": "How long you will wait, in milliseconds; work past it is dropped.",
            },
            "user_id": {**_TEXT, "description": "The name that you log in with, and no other."},
        },
    }


def _reply_properties() -> _Json:
    return {
        "type": "object",
        "properties": {
            "correlation_id": {**_TEXT, "description": "The request's."},
            "app_id": {**_TEXT, "description": "The worker's name."},
            "user_id": {**_TEXT, "description": "Whom the worker logs in as."},
        },
    }
