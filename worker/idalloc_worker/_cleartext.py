"""Says which passwords of the settings go over a network unprotected."""

from idalloc_client._cleartext import cleartext_warning, is_local
from idalloc_client._url import connection_parameters, unencrypted_login
from idalloc_worker._mysql_url import MySqlAddress
from idalloc_worker._settings import Settings


def broker_warnings(settings: Settings) -> list[str]:
    """Warn of a connection to the broker without TLS."""
    parameters = connection_parameters(settings.amqp_url.get_secret_value(), "")
    warning = cleartext_warning(unencrypted_login(parameters))
    return [] if warning is None else [warning]


def database_warnings(address: MySqlAddress) -> list[str]:
    """Warn of database hosts that get the password without having proved who they are."""
    if address.ssl is not False or address.server_public_key or address.unix_socket:
        return []
    if all(is_local(each.host) for each in address.each()):
        return []
    warning = (
        f"The database at {address} gets the password without TLS (ssl=disabled), and so does "
        "whoever answers in its place. Use ssl_ca, or server_public_key"
    )
    return [warning]
