"""Says which passwords of the settings go over a network unprotected, or will be withheld."""

from idalloc_client.amqp import (
    cleartext_warning,
    connection_parameters,
    is_local,
    unencrypted_logins,
)
from idalloc_worker.mysql import MySqlAddress
from idalloc_worker.settings._settings import Settings


def broker_warnings(settings: Settings) -> list[str]:
    """Warn of a connection to the broker without TLS."""
    brokers = connection_parameters(settings.broker_url(), "")
    warnings = map(cleartext_warning, unencrypted_logins(brokers))
    return [warning for warning in warnings if warning is not None]


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
