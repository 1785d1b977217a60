"""Fixtures for whole runs under faults: servers of their own to break, callers in processes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import Database, PrivateMySql, private_mysql, scratch_database
from devstack.caller import Caller, Summary
from devstack.history import latest
from devstack.workers import PATIENCE


class Load:
    """Callers that go on until the end, whose replies are recorded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._enough = folder / "enough"
        self._callers: dict[str, Caller] = {}

    def begin(self, count: int, url: str, *options: str) -> list[str]:
        """Start callers and return their names."""
        names = [f"caller-{len(self._callers) + number}" for number in range(count)]
        for name in names:
            until = f"--until={self._enough}"
            self._callers[name] = Caller(self._folder, name, url, until, *options)
        return names

    def go_on(self) -> None:
        """Wait until each has got a reply to a request that it sends from now on."""
        now = time.monotonic()
        missing = set(self._callers)
        while missing:
            assert time.monotonic() < now + PATIENCE, f"{missing} get no replies any more"
            missing -= {it.caller for it in latest(self._folder) if it.sent_at > now}
            time.sleep(0.02)

    def end(self) -> dict[str, Summary]:
        """End them and return what each experienced, by its name."""
        self._enough.touch()
        return {name: caller.result(PATIENCE) for name, caller in self._callers.items()}

    def end_without_errors(self) -> None:
        """End them; no call of theirs may have failed."""
        assert not {name: it.first_errors for name, it in self.end().items() if it.errors}

    def kill(self) -> None:
        for caller in self._callers.values():
            caller.kill()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Give callers whose replies are recorded in `tmp_path`; none outlives the test."""
    load = Load(tmp_path)
    yield load
    load.kill()


@pytest.fixture
def own_mysql() -> Iterator[PrivateMySql]:
    with private_mysql() as running:
        yield running


@pytest.fixture
def own_database(own_mysql: PrivateMySql) -> Iterator[Database]:
    with scratch_database(own_mysql.url) as fresh:
        yield fresh
