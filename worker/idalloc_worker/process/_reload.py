"""What SIGHUP does: settings are read again, and what can change while a worker runs does."""

import logging
from collections.abc import Callable
from typing import Final

from idalloc_worker.process._logging import configure_logging
from idalloc_worker.settings import Settings, SettingsError

_log = logging.getLogger("idalloc.worker")

_CHANGEABLE: Final = frozenset({"log_level", "log_format"})


def take_over(settings: Settings) -> None:
    """Have this process use what can change; in each process of a worker."""
    configure_logging(settings.log_level, settings.log_format)
    _log.info("Settings were read again; log level %s", settings.log_level)


class Reload:
    """Reads the settings again, where they came from. Owned by the main thread."""

    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        self.settings = settings
        self._load = load

    def __call__(self) -> None:
        """Take over what can change; if the new settings are no good, the old ones stay."""
        try:
            new = self._load()
        except SettingsError as error:
            _log.error("The settings were not read again: %s", error)
            return
        old, chosen = self.settings, {name: getattr(new, name) for name in _CHANGEABLE}
        self.settings = old.model_copy(update=chosen)
        take_over(self.settings)
        later = [name for name in Settings.model_fields if _differ(name, self.settings, new)]
        if later:
            _log.warning("These settings change at the next start: %s", ", ".join(later))


def _differ(name: str, old: Settings, new: Settings) -> bool:
    return bool(getattr(old, name) != getattr(new, name))
