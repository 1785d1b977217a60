"""Files that hold passwords: written for their owner alone, and noticed where others may read."""

import os
from pathlib import Path
from typing import Final

_OWNER_ONLY: Final = 0o600
_OTHERS: Final = 0o006
"""Not the group: a service's user often reads its configuration by it."""


def create_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read. Raises OSError, also where there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _OWNER_ONLY), "w", encoding="utf-8") as file:
        file.write(text)


def others_may_read(path: Path) -> bool:
    """Tell whether anybody on this machine may read a file, or write to it."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False
