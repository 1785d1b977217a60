"""Runs one benchmark as a process of its own, within a time, and reads what it found."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.programme import module_of
from devstack import Stack

Found = Mapping[str, Any]
"""A race's report as JSON, or `{"error": why}` if it could not run."""

_ROOT = Path(__file__).resolve().parents[2]
_TO_CLEAN_UP = 5.0  # seconds


def addresses(stack: Stack) -> dict[str, str]:
    """Name the servers as the benchmarks look for them in their environment."""
    return {
        "IDALLOC_TEST_AMQP_URL": stack.amqp_url,
        "IDALLOC_TEST_MANAGEMENT_URL": stack.management_url,
        "IDALLOC_TEST_MYSQL_URL": stack.mysql_url,
    }


def launch(
    name: str, options: Sequence[str], servers: Mapping[str, str], limit: float | None = None
) -> int | None:
    """Run a benchmark with what it prints shown; return its exit code.

    None says that it was stopped after `limit` seconds.
    """
    command = [sys.executable, "-m", module_of(name), *options]
    process = subprocess.Popen(command, env={**os.environ, **servers}, cwd=_ROOT)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)  # so that it removes its database and its virtual host
    try:
        process.wait(_TO_CLEAN_UP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def race(
    name: str, options: Sequence[str], servers: Mapping[str, str], limit: float, output: Path
) -> Found:
    """Run a race; its report is written to `output` on the way."""
    status = launch(name, [*options, "--json", str(output)], servers, limit)
    if status is None:
        return {"error": f"was stopped after {limit:.0f} s; try a quieter machine"}
    if not output.exists():
        return {"error": f"ended with status {status} and no report; its reason stands above"}
    found: Found = json.loads(output.read_text())
    return found
