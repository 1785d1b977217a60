"""What an operator sets: read, checked, and never shown where it is secret."""

from idalloc_worker.settings._cleartext import broker_warnings, database_warnings
from idalloc_worker.settings._private_files import create_private, exposed, exposed_password
from idalloc_worker.settings._redaction import redacted
from idalloc_worker.settings._secret_files import files_of
from idalloc_worker.settings._service_links import service_link_warnings
from idalloc_worker.settings._settings import Settings, SettingsError, load_settings

__all__ = [
    "Settings",
    "SettingsError",
    "broker_warnings",
    "create_private",
    "database_warnings",
    "exposed",
    "exposed_password",
    "files_of",
    "load_settings",
    "redacted",
    "service_link_warnings",
]
