"""Describes what was measured: machine, system, versions, commit and date."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from devstack import Database, Management, Stack

_PACKAGES = (
    *("idalloc", "pika", "pydantic", "PyMySQL", "aio-pika", "faststream", "redis"),
    *("snowflake-id-toolkit", "uvloop"),
)
"""Those that take part, in whatever benchmark."""

_ROOT = Path(__file__).resolve().parents[2]
_GIT_TIMEOUT = 10.0  # seconds


def environment() -> dict[str, str]:
    """Describe all but the servers."""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **_commit(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": str(len(os.sched_getaffinity(0))),
        "cpu": _cpu_model(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def servers(stack: Stack) -> dict[str, str]:
    """Ask broker and database for their versions, and for how safe a commit is."""
    overview = Management(stack.management_url).get("/api/overview")
    database = Database(stack.mysql_url, "")
    [(version_told,)] = database.query("SELECT VERSION()")
    return {
        "rabbitmq": overview["rabbitmq_version"],
        "erlang": overview["erlang_version"],
        "database": database_version(version_told),
        "durability": durability(database),
    }


def durability(database: Database) -> str:
    """Tell whether a database's commits are on disk when they are told."""
    names = ("innodb_flush_log_at_trx_commit", "sync_binlog", "log_bin")
    [values] = database.query(f"SELECT {', '.join(f'@@GLOBAL.{name}' for name in names)}")
    return ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))


def database_version(told: str) -> str:
    """Name the product too: MariaDB says its own within the version, MySQL only a number."""
    name = "MariaDB" if "mariadb" in told.lower() else "MySQL"
    return f"{name} {told}"


def one_line(described: Mapping[str, str]) -> str:
    """Write it as the last line of a report."""
    return "; ".join(f"{key} {value}" for key, value in described.items())


def _commit() -> dict[str, str]:
    """Tell the commit, and whether anything differs from it; nothing outside of a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!*.md", ":!docs")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": f"{head} with changes" if changed else head}


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    shown = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT
    )
    return shown.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")
