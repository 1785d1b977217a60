"""Runs all benchmarks, each in a process of its own, and shows their bars in one table."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._runner import progress
from tests.devstack import DevStackError, running_stack

RACES = (
    *("async_singles", "threads", "lone_call", "sequences", "in_flight", "adaptive_step"),
    *("ordered", "frames", "single_requests"),
)
PROOFS = ("cancellations", "outage")
"""Benchmarks whose bars are counts that must be right; how long the races last is not for them."""

SCRIPTS = RACES + PROOFS

_ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return 0 if every bar is kept, 1 if not, 2 if something could not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all reports there")
    parser.add_argument(
        "--only",
        action="append",
        choices=SCRIPTS,
        help="run this one, and others so named (default: all); other options go to the races",
    )
    known, options = parser.parse_known_args()
    try:
        with running_stack() as stack, TemporaryDirectory(prefix="idalloc-benchmarks-") as folder:
            servers = {
                "IDALLOC_TEST_AMQP_URL": stack.amqp_url,
                "IDALLOC_TEST_MANAGEMENT_URL": stack.management_url,
                "IDALLOC_TEST_MYSQL_URL": stack.mysql_url,
            }
            reports = {
                name: _run(
                    name, options if name in RACES else [], servers, Path(folder) / f"{name}.json"
                )
                for name in known.only or SCRIPTS
            }
    except DevStackError as error:
        print(error, file=sys.stderr)
        return 2
    if known.json is not None:
        known.json.write_text(json.dumps(reports, indent=2) + "\n")
    print(summary(reports))
    return status(reports)


def _run(
    name: str, options: list[str], servers: Mapping[str, str], output: Path
) -> dict[str, Any] | None:
    progress(f"\n--- {name}")
    command = [sys.executable, "-m", f"benchmarks.{name}", *options, "--json", str(output)]
    subprocess.run(command, env={**os.environ, **servers}, cwd=_ROOT, check=False)
    if not output.exists():
        return None
    report: dict[str, Any] = json.loads(output.read_text())
    return report


def summary(reports: Mapping[str, dict[str, Any] | None]) -> str:
    """Write one line for each bar."""
    lines = ["All bars", ""]
    for name, report in reports.items():
        if report is None:
            lines.append(f"{name:<14} could not run; its reason stands above")
        else:
            lines += [f"{name:<14} {bar['line']}" for bar in report["bars"]]
    return "\n".join(lines)


def status(reports: Mapping[str, dict[str, Any] | None]) -> int:
    """Say with one number how it went."""
    if any(report is None for report in reports.values()):
        return 2
    return 0 if all(report is not None and report["met"] for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
