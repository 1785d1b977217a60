"""Leaves logging as it was: commands quieten it for the process that they have to themselves."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def loud_again() -> Iterator[None]:
    """Let the tests that follow see what is logged."""
    loggers = [logging.getLogger(name) for name in ("", "idalloc", "pika")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
