"""Files that hold passwords: written for their owner alone, and noticed where others may read."""

import os
import re
import shlex
from pathlib import Path
from typing import Final

_OWNER_ONLY: Final = 0o600
_LOGIN: Final = re.compile(r"://[^\n]*:[^\n]*@")
_OTHERS: Final = 0o006
"""Not the group: a service's user often reads its configuration by it."""


def create_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read. Raises OSError, also where there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _OWNER_ONLY), "w", encoding="utf-8") as file:
        file.write(text)


def exposed(path: Path) -> str:
    """Say so where anybody on this machine may read a file, or write to it; else nothing.

    Secrets of Docker and Kubernetes are for all users of a container, which has one, and are
    mounted so that nobody there can change that.
    """
    try:
        may = bool(path.stat().st_mode & _OTHERS)
        mounted = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return ""
    may = may and not mounted
    return f"others may read {path}, which has a password: chmod 600 {_quoted(path)}" if may else ""


def exposed_password(path: Path) -> str:
    """Say so where a file of settings has a URL with a password that others may read."""
    warning = exposed(path)
    if not warning:
        return ""
    try:
        return warning if _LOGIN.search(path.read_text("utf-8")) else ""
    except (OSError, ValueError):
        return ""


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
