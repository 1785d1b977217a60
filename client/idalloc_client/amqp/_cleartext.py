"""Warns of a password that goes over an unencrypted connection to another machine."""

import ipaddress
import logging
from typing import Final

from idalloc_client.amqp._url import Login

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


def cleartext_warning(login: Login) -> str | None:
    """Say that the network can read the password of a login without TLS; None if it cannot."""
    if is_local(login.host):
        return None
    return (
        f"The password of user {login.user!r} goes to the broker at {login.host}:{login.port} "
        "unencrypted: whoever is on the network can read it. Use amqps://"
    )


def warn_of_cleartext(login: Login) -> None:
    """Log that once for each user and broker in a process."""
    warning = cleartext_warning(login)
    if warning is not None and warning not in _warned:
        _warned.add(warning)
        _log.warning("%s", warning)
