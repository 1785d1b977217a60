"""Draws in tasks of Celery."""

import os

import celery

from tests.served import URL, draw

app = celery.Celery("served", broker=URL)
app.conf.broker_connection_retry_on_startup = True


def work() -> int:
    """Return the process id."""
    draw()
    return os.getpid()


app.task(work)
