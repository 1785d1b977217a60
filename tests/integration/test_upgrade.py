"""The last release runs beside this version: on one broker, one table, for callers of both.

`IDALLOC_TEST_RELEASE` names another commit to run beside it.
"""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import Database
from devstack.workers import PATIENCE, Fleet
from idalloc_client import IdClient
from tests.conftest import PATIENT

ROOT = Path(__file__).parents[2]
TAG = "test_business"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def last_release() -> str | None:
    """Name the tag of the highest version, or what is to be taken for it; None without any."""
    if "IDALLOC_TEST_RELEASE" in os.environ:
        return os.environ["IDALLOC_TEST_RELEASE"]
    try:
        tags = git("tag", "--list", "v[0-9]*", "--sort=-version:refname").decode().split()
    except (OSError, subprocess.CalledProcessError):
        return None  # an unpacked source distribution
    return tags[0] if tags else None


pytestmark = [
    pytest.mark.skipif(last_release() is None, reason="nothing was released yet: no tag v..."),
    pytest.mark.long,
]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the last release."""
    folder = tmp_path_factory.mktemp("released")
    with tarfile.open(fileobj=io.BytesIO(git("archive", str(last_release())))) as archive:
        archive.extractall(folder, filter="data")
    return folder


def import_path(folder: Path) -> dict[str, str]:
    """Have Python take the packages of a release, before those that are installed."""
    return {"PYTHONPATH": ":".join(str(folder / top) for top in ("schemas", "client", "worker"))}


@pytest.fixture
def old_fleet(released: Path, vhost: str, database: Database) -> Iterator[Fleet]:
    """Give workers of the last release, on the broker and the table that `fleet` has."""
    with Fleet(vhost, database.url, PATIENT | import_path(released)) as running:
        yield running


CALLER = """
import sys
from idalloc_client import IdClient, __file__
assert __file__.startswith(sys.argv[2]), __file__
with IdClient(sys.argv[1], timeout=float(sys.argv[4])) as client:
    print(*(client.next_id(sys.argv[3]) for _ in range(500)))
"""


def draw_as_released(released: Path, amqp_url: str) -> list[int]:
    """Draw 500 ids with the client of the last release."""
    command = [sys.executable, "-c", CALLER, amqp_url, str(released), TAG, str(PATIENCE)]
    environment = dict(os.environ) | import_path(released)
    return [int(word) for word in subprocess.check_output(command, env=environment).split()]


def draw(amqp_url: str) -> list[int]:
    with IdClient(amqp_url) as client:
        return [client.next_id(TAG) for _ in range(500)]


def test_both_serve_callers_of_both(fleet: Fleet, old_fleet: Fleet, released: Path) -> None:
    """An upgrade and the way back: old, both, new, both, old; no id comes twice."""
    ids = []

    def draw_by_both() -> None:
        ids.extend(draw(fleet.amqp_url) + draw_as_released(released, fleet.amqp_url))

    (old,) = old_fleet.start()
    draw_by_both()
    (new,) = fleet.start(ready=False)
    fleet.wait_ready(2)
    draw_by_both()
    assert old.terminate() == 0
    draw_by_both()
    old_fleet.start(ready=False)
    fleet.wait_ready(2)
    draw_by_both()
    assert new.terminate() == 0
    draw_by_both()
    assert len(set(ids)) == len(ids) == 5000
