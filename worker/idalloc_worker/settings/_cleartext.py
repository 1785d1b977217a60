"""Says which passwords go over a network to the database unprotected, or will be withheld."""

from idalloc_client.amqp import is_local
from idalloc_worker.mysql import MySqlAddress


def database_warnings(address: MySqlAddress) -> list[str]:
    """Warn of database hosts that get the password unproved, or will not get it when they ask."""
    if address.verifies_certificate or address.server_public_key or address.unix_socket:
        return []
    if all(is_local(each.host) for each in address.each()):
        return []
    # With none of the options it may well work now: MySQL remembers a login until it is restarted.
    return [_told(address) if address.ssl is False else _withheld(address)]


def _told(address: MySqlAddress) -> str:
    return (
        f"The database at {address} gets the password without TLS (ssl=disabled), and so does "
        "whoever answers in its place. Use ssl_ca, or server_public_key"
    )


def _withheld(address: MySqlAddress) -> str:
    return (
        f"The database at {address} does not have to prove who it is, so it is not told the "
        "password: MySQL 8 and later refuse the login after a restart or a failover. Give ssl_ca, "
        "or ssl=disabled on a network that you trust"
    )
