"""Warns of a password that goes over an unencrypted connection to another machine."""

import ipaddress
import logging
from typing import Final

import pika

_log = logging.getLogger("idalloc.client")

_warned: Final[set[str]] = set()


def is_local(host: str) -> bool:
    """Whether a host, as it is written, is this one: no name is looked up."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def cleartext_warning(parameters: pika.connection.Parameters) -> str | None:
    """Say whose password the network can read on the way to the broker; None if nobody's."""
    credentials = parameters.credentials
    if parameters.ssl_options is not None or is_local(parameters.host):
        return None
    if not isinstance(credentials, pika.PlainCredentials):
        return None
    return (
        f"The password of user {credentials.username!r} goes to the broker at "
        f"{parameters.host}:{parameters.port} unencrypted: whoever is on the network can read it. "
        "Use amqps://"
    )


def warn_of_cleartext(parameters: pika.connection.Parameters) -> None:
    """Log that once for each user and broker in a process."""
    warning = cleartext_warning(parameters)
    if warning is not None and warning not in _warned:
        _warned.add(warning)
        _log.warning("%s", warning)
