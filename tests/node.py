"""Runs scripts with Node, where it and the libraries of the example are."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "node"
NODE_MODULES = os.environ.get("IDALLOC_TEST_NODE_MODULES")

needs_node = pytest.mark.skipif(
    NODE_MODULES is None, reason="IDALLOC_TEST_NODE_MODULES names no folder that .ci/node made"
)


def prepare(folder: Path) -> None:
    """Put the example and its libraries into a folder."""
    assert NODE_MODULES is not None
    for script in EXAMPLE.glob("*.mjs"):
        shutil.copy(script, folder)
    (folder / "node_modules").symlink_to(Path(NODE_MODULES).resolve())


def run_node(
    folder: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script of a folder that was prepared."""
    return subprocess.run(
        ["node", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **(environment or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
