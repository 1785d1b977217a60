"""What an operator sets: read, checked, and never shown where it is secret.

What is made of pydantic's models is loaded at the first use of one of its names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from idalloc_worker.settings._caller import (
    CallerSettings,
    broker_warnings,
    plain_caller_settings,
)
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._private_files import create_private, exposed, exposed_password
from idalloc_worker.settings._redaction import redacted
from idalloc_worker.settings._service_links import service_link_warnings

if TYPE_CHECKING:
    from idalloc_worker.settings._cleartext import database_warnings
    from idalloc_worker.settings._secret_files import files_of
    from idalloc_worker.settings._settings import Settings, load_settings

__all__ = [
    "CallerSettings",
    "Settings",
    "SettingsError",
    "broker_warnings",
    "create_private",
    "database_warnings",
    "exposed",
    "exposed_password",
    "files_of",
    "load_settings",
    "plain_caller_settings",
    "redacted",
    "service_link_warnings",
]

_WITH_MODELS: Final = ("_settings", "_secret_files", "_cleartext")


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _WITH_MODELS:
            home = import_module(f"{__name__}.{module}")
            if hasattr(home, name):
                found = globals()[name] = getattr(home, name)
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
