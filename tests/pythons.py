"""Runs the unit tier on each Python that idalloc supports and this machine has.

Each gets a virtual environment of its own in `.pythons`. Arguments go to pytest.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
HOMES: Final = ROOT / ".pythons"
OLDEST: Final = (3, 11)
TIER: Final = ("tests/unit", "tests/simulation")

_NAMES: Final = [
    f"python3.{minor}{suffix}" for minor in range(OLDEST[1], 20) for suffix in ("", "t", "-nogil")
]
_ASK: Final = (
    "import json, sys, sysconfig; print(json.dumps([sys.implementation.name, sys.version_info[:2], "
    "bool(sysconfig.get_config_var('Py_GIL_DISABLED'))]))"
)


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter; `name` is that of its version, with a t if it runs threads side by side."""

    name: str
    path: str

    @property
    def python(self) -> Path:
        """The interpreter in its virtual environment."""
        return HOMES / self.name / "bin" / "python"

    def prepare(self) -> None:
        """Install what the tests need; quick if that was done before."""
        done = HOMES / self.name / "installed"
        wanted = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
        if done.exists() and done.read_text() == wanted:
            return
        home = str(HOMES / self.name)
        subprocess.run([self.path, "-m", "venv", "--clear", home], check=True)
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[worker,dev]"], check=True, cwd=ROOT)
        done.write_text(wanted)

    def test(self, arguments: Sequence[str]) -> int:
        """Run the tests; on a free-threaded one without the lock, whatever a module asks for."""
        environment = dict(os.environ)
        if self.name.endswith("t"):
            environment["PYTHON_GIL"] = "0"
        command = [str(self.python), "-m", "pytest", "-q", *(arguments or TIER)]
        return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


def name_of(path: str) -> str | None:
    """Name an interpreter by its version; None if it is too old, or none at all."""
    try:
        asked = subprocess.run(
            [path, "-c", _ASK], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None  # a shim of pyenv for a version that is not chosen, say
    implementation, version, free_threaded = json.loads(asked.stdout)
    if implementation != "cpython" or tuple(version) < OLDEST:
        return None
    return f"{version[0]}.{version[1]}{'t' if free_threaded else ''}"


def _paths() -> Iterator[str]:
    yield from filter(None, map(shutil.which, _NAMES))
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from map(str, sorted(versions.glob("3.*/bin/python3")))


def pythons() -> list[Python]:
    """Find one interpreter of each version."""
    found: dict[str, Python] = {}
    for path in _paths():
        name = name_of(path)
        if name is not None:
            found.setdefault(name, Python(name, path))
    return [found[name] for name in sorted(found)]


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the tests pass on all of them."""
    statuses = {}
    for python in pythons():
        print(f"--- Python {python.name}: {python.path}", flush=True)
        try:
            python.prepare()
        except subprocess.CalledProcessError as error:
            print(error)
            statuses[python.name] = -1
            continue
        statuses[python.name] = python.test(arguments)
    for name, status in statuses.items():
        words = {0: "passed", -1: "could not be prepared"}.get(status, "FAILED")
        print(f"Python {name:<6} {words}")
    return int(any(statuses.values()) or not statuses)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
