"""Writes log records as text or JSON lines for an operator."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

_HANDLER_NAME: Final = "idalloc"
_STANDARD_FIELDS: Final = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)) | {"message": "", "asctime": ""}
)


def configure_logging(level: str, fmt: str, stream: TextIO | None = None) -> None:
    """Send all records of `level` and above to `stream`, by default the standard error.

    `level` and `fmt` are those of the settings. Calling it again replaces what it set up before.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.set_name(_HANDLER_NAME)
    handler.setFormatter(_JsonFormatter() if fmt == "json" else _TextFormatter())
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.get_name() == _HANDLER_NAME]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # What pika says about a lost connection, idalloc says better, once, and without a traceback.
    pika_level = logging.DEBUG if level == "debug" else logging.CRITICAL
    logging.getLogger("pika").setLevel(pika_level)


class _TextFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z INFO idalloc.worker message key=value`, one line each."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_time(record), record.levelname, record.name, _one_line(record.getMessage())]
        words += [f"{key}={_shown(value)}" for key, value in _extra(record).items()]
        line = " ".join(words)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class _JsonFormatter(JsonFormatter):
    """One object per line: time, level, logger, message, what was passed as `extra`."""

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        log_data["time"] = _time(record)
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        super().add_fields(log_data, record, message_dict)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}


def _shown(value: object) -> str:
    """Quote what would not read as one word."""
    text = str(value)
    plain = text.isprintable() and text and not any(char in ' "=' for char in text)
    return text if plain else json.dumps(text)


def _one_line(text: str) -> str:
    """Escape control characters: a caller's text must not look like a record of its own."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
