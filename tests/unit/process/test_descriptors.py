"""A worker that may open too few descriptors says so when it starts, or sees to it."""

import logging
import resource

import pytest

from idalloc_worker.process._descriptors import ensure_descriptors, needed
from idalloc_worker.settings._settings import Settings, load_settings

SETTINGS = load_settings(None, {"metrics_port": 9464}, {})
NEED = needed(SETTINGS)


@pytest.mark.parametrize(
    ("soft", "hard", "becomes", "warned"),
    [
        (1024, 4096, 1024, False),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, False),
        (NEED, NEED, NEED, False),
        (20, 4096, NEED, False),
        (20, resource.RLIM_INFINITY, NEED, False),
        (20, 30, 30, True),
    ],
)
def test_the_limit_is_raised_or_warned_of(
    soft: int,
    hard: int,
    becomes: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    warned: bool,
) -> None:
    """As far as the hard limit lets it; one that is high enough stays as it is."""
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.append(both))
    ensure_descriptors(SETTINGS)
    assert limits[-1] == (becomes, hard)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * warned


def test_more_of_everything_needs_more() -> None:
    """Threads with their connections, processes, and the metrics."""
    for change in ({"refill_threads": 64}, {"processes": 256}, {"metrics_port": 9464}):
        assert needed(Settings(**change)) > needed(Settings())
