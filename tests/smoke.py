"""Installs what `make build` made on each Python that is here, and tries it there.

Wheel and source distribution come from `dist`, the libraries from the package index.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.pythons import ROOT, Python, pythons

_TRY: Final = """
import importlib, importlib.metadata, pkgutil
import idalloc_client, idalloc_schemas, idalloc_worker
from idalloc_client.testing import FakeIdClient

for package in (idalloc_schemas, idalloc_client, idalloc_worker):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(("__main__", "pytest_plugin")):  # pytest is not there
            importlib.import_module(module.name)
with FakeIdClient({"order": 1}) as ids:
    assert ids.next_id("order") == 1
print(importlib.metadata.version("idalloc"))
"""


class BrokenError(Exception):
    """What was installed does not work."""


def install(python: str, home: Path, built: Path) -> None:
    """Make a virtual environment with nothing but a distribution and what it asks for."""
    subprocess.run([python, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet"]
    options = ["--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *options, f"{built}[worker]"], check=True, cwd=home)


def smoke(home: Path) -> str:
    """Import every module, take an id from a fake, run the command; give the version."""
    said = _run(home, "python", "-W", "error", "-I", "-c", _TRY)
    _run(home, "idalloc", "worker", "--help")
    return said.strip()


def _run(home: Path, command: str, *arguments: str) -> str:
    path = str(home / "bin" / command)
    done = subprocess.run([path, *arguments], check=False, cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise BrokenError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def try_out(python: Python, built: Path) -> bool:
    """Say whether a distribution works on a Python."""
    with tempfile.TemporaryDirectory() as home:
        try:
            install(python.path, Path(home), built)
            version = smoke(Path(home))
        except (subprocess.CalledProcessError, BrokenError) as error:
            print(f"Python {python.name:<6} {built.name} FAILED: {error}", flush=True)
            return False
    print(f"Python {python.name:<6} {built.name} works, as version {version}", flush=True)
    return True


def main(arguments: Sequence[str]) -> int:
    """Return 0 if each distribution of a folder, `dist` by default, works on each Python."""
    folder = Path(arguments[0]) if arguments else ROOT / "dist"
    found = sorted([*folder.resolve().glob("*.whl"), *folder.resolve().glob("*.tar.gz")])
    tried = [try_out(python, built) for python in pythons() for built in found]
    return 0 if tried and all(tried) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
