"""The plugin on the oldest release of pytest that it serves, and on the newest one.

Each has an environment of its own, with the plugins that pytest users have beside this one.
"""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests/unit/faces/test_pytest_plugin.py"

OLDEST = ("pytest==8.0.0", "pytest-asyncio==0.23.5", "pytest-xdist==3.5.0", "anyio==4.3.0")
NEWEST = ("pytest", "pytest-asyncio", "pytest-xdist", "anyio")


def succeed(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("release", [OLDEST, NEWEST], ids=["oldest", "newest"])
def test_the_plugin_serves(release: tuple[str, ...], tmp_path: Path) -> None:
    """Its tests pass there."""
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    python = tmp_path / "venv/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    succeed(*pip, *release, ROOT, cwd=tmp_path)
    copy = tmp_path / TESTS.name
    copy.write_text(TESTS.read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    succeed(
        python,
        "-m",
        "pytest",
        "-p",
        "pytester",
        "-rs",
        copy,
        cwd=tmp_path,
    )
