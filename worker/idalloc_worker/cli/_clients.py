"""The client of a command that asks workers as any caller does."""

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from idalloc_client import AsyncIdClient, IdClient
from idalloc_worker.cli._options import config_file_of_command, settings_of_command, warn
from idalloc_worker.settings import CallerSettings, broker_warnings, plain_caller_settings

Client = TypeVar("Client", IdClient, AsyncIdClient)


def client_of_command(kind: type[Client]) -> Callable[[], Client]:
    """Give what makes a client of this kind, which believes workers only."""
    settings = _caller_settings()
    # What they warn of is shown, or is in the error that the command ends with.
    for name in ("idalloc", "pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warn(broker_warnings(settings.broker))
    return partial(
        kind,
        settings.broker,
        exchange=settings.request_exchange,
        workers=settings.fleet_users,
    )


def _caller_settings() -> CallerSettings:
    """Read what concerns a caller; all settings where it is not plain in the environment."""
    plain = None if config_file_of_command() else plain_caller_settings(os.environ)
    if plain is not None:
        return plain
    settings = settings_of_command()
    return CallerSettings(settings.broker_url(), settings.request_exchange, settings.fleet_users)
