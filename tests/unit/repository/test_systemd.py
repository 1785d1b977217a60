"""The unit for systemd: understood by it, hardened as the page says, and true to the worker."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from idalloc_worker._vitals import LIVE_WITHIN
from idalloc_worker.process._supervisor import _KILL_AFTER
from idalloc_worker.settings._settings import Settings

ROOT = Path(__file__).parents[3]
UNIT = ROOT / "deploy/systemd/idalloc-worker.service"
PAGE = ROOT / "docs/deploy.md"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def options() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))


def analyze(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_understands_it(tmp_path: Path) -> None:
    """Nothing is misspelt; the command is one that is there, as it looks for it."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/idalloc/bin/idalloc", "/bin/true"))
    assert not analyze("verify", "--man=no", unit)


@needs_systemd
def test_the_score_is_the_one_on_the_page() -> None:
    """Below 2 is "OK", the best word that systemd has for what uses a network."""
    said = analyze("security", "--offline=true", UNIT)
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
    (told,) = re.findall(r"exposure level: ([\d.]+)", PAGE.read_text())
    assert float(score) <= float(told) < 2


def test_it_waits_for_as_long_as_the_worker_takes() -> None:
    """A drain is not cut off, and a process that hangs is seen before the watchdog bites."""
    unit, drain = options(), Settings().drain_timeout
    assert int(unit["TimeoutStopSec"]) > drain + _KILL_AFTER
    assert int(unit["WatchdogSec"]) > LIVE_WITHIN
    assert (unit["Type"], unit["NotifyAccess"], unit["KillMode"]) == ("notify", "main", "mixed")
    assert unit["Environment"].startswith("IDALLOC_PROBE_FILE=%t/" + unit["RuntimeDirectory"])


def test_the_worker_may_do_what_it_does_there() -> None:
    """It raises its limit of descriptors only where it is too low, which the unit forbids."""
    assert int(options()["LimitNOFILE"]) >= 4096
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} == set(options()["RestrictAddressFamilies"].split())
