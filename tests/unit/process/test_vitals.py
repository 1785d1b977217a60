"""The page of vitals tells who runs and who serves."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idalloc_worker import _vitals
from idalloc_worker._probe import quick_probe
from idalloc_worker._vitals import (
    CONNECTED,
    CONSUMING,
    DATABASE,
    DATABASE_WITHIN,
    LIVE_WITHIN,
    START_WITHIN,
    Vitals,
    VitalsError,
)

WELL = CONNECTED | CONSUMING | DATABASE


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    it = Clock()
    monkeypatch.setattr(_vitals, "time", it)
    return it


def test_a_lone_process(clock: Clock) -> None:
    """It has no supervisor to miss; without its beat it is neither ready nor, some day, live."""
    vitals = Vitals.make(1)
    vitals.beat(1, WELL, clock.now)
    assert not vitals.problems("live")
    assert not vitals.problems("ready")
    clock.now += LIVE_WITHIN + 2
    assert vitals.problems("live") == ["process 1: has not run for 12 s"]
    assert vitals.problems("ready") == ["process 1: does not run"]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (0, "no connection to the broker"),
        (CONNECTED | DATABASE, "connected to the broker, but not consuming yet"),
        (CONNECTED | CONSUMING, "the database could not be used when it was last needed"),
        (WELL, "the database has not been used yet"),
    ],
)
def test_why_a_process_is_not_ready(clock: Clock, flags: int, problem: str) -> None:
    """One reason each, the first that an operator would see to."""
    vitals = Vitals.make(2)
    vitals.beat(0)
    vitals.beat(1, WELL, clock.now)
    vitals.beat(2, flags)
    assert vitals.problems("ready") == [f"process 2: {problem}"]
    assert not vitals.problems("live"), "broker and database are no reason to start it again"


def test_a_database_that_nobody_could_ask_for_a_while(clock: Clock) -> None:
    """That it was well counts for so long."""
    vitals = Vitals.make(1)
    used = clock.now
    clock.now += DATABASE_WITHIN
    vitals.beat(1, WELL, used)
    assert not vitals.problems("ready")
    clock.now += 1
    vitals.beat(1, WELL, used)
    assert vitals.problems("ready") == ["process 1: the database has not been used for 31 s"]


def test_a_process_has_time_to_start(clock: Clock) -> None:
    """And again when it is started anew; if none is started in its place it is missed."""
    vitals = Vitals.make(2)
    vitals.beat(0)
    for number in (1, 2):
        vitals.starts(number)
    assert not vitals.beats()
    assert not vitals.problems("live")
    assert vitals.problems("ready") == ["process 1: does not run", "process 2: does not run"]
    clock.now += START_WITHIN + 1
    vitals.beat(0)
    vitals.beat(1, WELL, clock.now)
    assert vitals.problems("live") == ["process 2: has not run for 11 s"]
    vitals.starts(2)
    vitals.ended(2, for_good=False)
    assert not vitals.problems("live")
    clock.now += LIVE_WITHIN + 1
    vitals.beat(0)
    vitals.beat(1, WELL, clock.now)
    assert vitals.problems("live") == ["process 2: has not run for 11 s"]


def test_a_supervisor_is_missed(clock: Clock) -> None:
    """Nobody else would start a process again."""
    vitals = Vitals.make(2)
    vitals.beat(0)
    clock.now += LIVE_WITHIN + 1
    for number in (1, 2):
        vitals.beat(number, WELL, clock.now)
    assert vitals.problems("live") == ["the supervisor: has not run for 11 s"]


def test_whoever_drains_is_live(clock: Clock) -> None:
    """Processes that have ended are not missed, and all are told not to be ready."""
    vitals = Vitals.make(2)
    for number in (0, 1, 2):
        vitals.beat(number, WELL, clock.now)
    vitals.drains(0)
    vitals.ended(2, for_good=True)
    clock.now += LIVE_WITHIN + 1
    vitals.beat(0)
    vitals.beat(1, WELL, clock.now)
    assert not vitals.problems("live")
    assert vitals.problems("ready") == ["draining: the worker is stopping"]


def test_a_file_is_found_by_others_and_goes(tmp_path: Path) -> None:
    """Its owner's alone; one of an earlier worker is replaced."""
    path = tmp_path / "vitals"
    path.write_text("old")
    vitals = Vitals.make(1, str(path))
    vitals.beat(1, WELL, time.monotonic())
    assert path.stat().st_mode & 0o777 == 0o600
    assert not Vitals.at(str(path)).problems("ready")
    assert list(tmp_path.iterdir()) == [path]
    vitals.remove()
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"x", b"idalloc1" + bytes(8), bytes(80)])
def test_a_file_that_is_no_page(tmp_path: Path, content: bytes) -> None:
    """It is told from one."""
    path = tmp_path / "vitals"
    path.write_bytes(content)
    with pytest.raises(VitalsError):
        Vitals.at(str(path))


def test_a_page_from_before_the_machine_started(clock: Clock) -> None:
    """The monotonic clock began anew since: its beats lie in the future."""
    vitals = Vitals.make(1)
    vitals.beat(1, WELL, clock.now)
    clock.now = 5.0
    assert vitals.problems("live") == ["process 1: never ran"]
    assert vitals.problems("ready") == ["process 1: does not run"]


# The command


@pytest.mark.parametrize(
    "arguments",
    [["worker"], ["worker", "--probe"], ["worker", "--probe", "x"], ["--config", "f", "worker"]],
)
def test_other_commands_are_left_to_the_command_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It explains what is wrong with them."""
    monkeypatch.setenv("IDALLOC_PROBE_FILE", "/nowhere")
    assert quick_probe(arguments) is None
    monkeypatch.delenv("IDALLOC_PROBE_FILE")
    assert quick_probe(["worker", "--probe", "live"]) is None


def test_a_probe_imports_next_to_nothing(tmp_path: Path) -> None:
    """Else it would cost a second of CPU time, every few seconds, in each container."""
    path = tmp_path / "vitals"
    vitals = Vitals.make(1, str(path))
    vitals.beat(1)
    script = (
        "import sys; before = {*sys.modules}; sys.argv[1:] = ['worker', '--probe', 'live'];"
        "from idalloc_worker.__main__ import main; status = main();"
        "print(*{*sys.modules} - before); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "IDALLOC_PROBE_FILE": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said, imported = done.stdout.splitlines()
    assert said == "live"
    ours = {"idalloc_worker", *(f"idalloc_worker.{it}" for it in ("__main__", "_probe", "_vitals"))}
    allowed = {*ours, "mmap", "struct", "_struct", "contextlib", "collections", "functools"}
    allowed |= {
        "gc",
        "time",
        "collections.abc",
        "operator",
        "keyword",
        "reprlib",
        "itertools",
        "types",
    }
    assert {name for name in imported.split() if not name.startswith("_")} <= allowed
