"""The benchmarks whose bars are counts, in a small form; their whole is for `make bench`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.programme import module_of
from devstack import Stack

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("outage", ["--ids", "50000", "--seconds", "10"]),
        ("cancellations", ["--calls", "1000"]),
        ("lost_answers", ["--seconds", "4"]),
    ],
)
def test_a_small_run_keeps_every_bar(
    name: str, options: list[str], stack: Stack, tmp_path: Path
) -> None:
    """Nothing comes twice, fails or stays behind."""
    output = tmp_path / "report.json"
    command = [sys.executable, "-m", module_of(name), *options, "--json", str(output)]
    servers = {
        "IDALLOC_TEST_AMQP_URL": stack.amqp_url,
        "IDALLOC_TEST_MANAGEMENT_URL": stack.management_url,
        "IDALLOC_TEST_MYSQL_URL": stack.mysql_url,
    }
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **servers},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert run.returncode in (0, 1), run.stderr
    report: dict[str, Any] = json.loads(output.read_text())
    missed = [bar["line"] for bar in report["bars"] if not bar["met"]]
    assert not missed, run.stderr
    assert run.returncode == 0
