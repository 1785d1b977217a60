"""Where a URL comes from: a text, or something that is asked for it at each connect."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

_log = logging.getLogger("idalloc.credentials")

_Value = TypeVar("_Value")

UrlSource = str | Callable[[], str]


def text_of(source: UrlSource) -> str:
    """Ask for the URL. Raises ValueError, which shows nothing of it."""
    if isinstance(source, str):
        return source
    try:
        return source()
    except OSError as error:
        words = error.strerror or type(error).__name__
        where = f"{error.filename}: " if error.filename else ""
        raise ValueError(f"cannot be read: {where}{words}") from error
    except Exception as error:
        raise ValueError(f"cannot be had: {type(error).__name__}") from error


class UrlFile:
    """A URL in a file, as Docker and Kubernetes hand out secrets: `IdClient(UrlFile(path))`.

    It is read anew at each connect, so that one that was replaced is used without a restart.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __call__(self) -> str:
        """Read it. Raises OSError, also where it is empty."""
        return read_secret(self.path)

    def __repr__(self) -> str:
        return f"UrlFile({str(self.path)!r})"


def read_secret(path: Path) -> str:
    """Read a secret from a file, without the end of its line. Raises OSError, ValueError."""
    text = path.read_text("utf-8").rstrip("\r\n")
    if not text:
        raise OSError(errno.ENODATA, "the file is empty", str(path))
    return text


class LastGood(Generic[_Value]):
    """What `read` gave last. Any thread may ask.

    A secret that is being replaced can be missing, empty or half written for a moment: that is
    logged once, until it is good again.
    """

    def __init__(self, read: Callable[[], _Value], first: _Value, what: str) -> None:
        """Begin with `first`. People are shown `what`, and what a ValueError of `read` says."""
        self._read = read
        self._what = what
        self.value = first
        self._failed = False

    def again(self) -> _Value:
        """Read it anew."""
        try:
            self.value = self._read()
        except Exception as error:  # noqa: BLE001  # of whatever kind: there is one that was good
            if not self._failed:
                words = str(error) if isinstance(error, ValueError) else type(error).__name__
                _log.warning("%s %s; going on with what was read before", self._what, words)
            self._failed = True
        else:
            self._failed = False
        return self.value
