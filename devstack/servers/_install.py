"""Installs the servers' Debian or Ubuntu packages where that is allowed."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from devstack.servers._errors import DevStackError, NotInstalledError
from devstack.servers._mysql import find_mysql
from devstack.servers._rabbitmq import find_rabbitmq
from devstack.servers._server import tail

INSTALL_SECONDS = 900
_one_at_a_time = threading.Lock()

# Both packages start a service of their own unless policy-rc.d, if there is one, forbids it. Ours
# forbids it only as long as this script runs, so a copy that a power cut leaves behind is harmless.
# A policy that the administrator has made is left alone. The update may fail for a third party's
# archive; whether that matters is for the installation to say.
_SCRIPT = r"""
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\nkill -0 %s 2>/dev/null && exit 101\nexit 0\n' "$$" >"$policy"
  chmod 755 "$policy"
fi
apt-get update
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
"""


def ensure_installed(*, rabbitmq: bool, mysql: bool) -> None:
    """Install what is asked for and missing.

    Raises NotInstalledError, naming the command to run, where installing is not allowed, and
    DevStackError with apt's output where it fails.
    """
    with _one_at_a_time:
        packages = missing_packages(rabbitmq=rabbitmq, mysql=mysql)
        if packages:
            _install(packages)


def ensure_packages(packages: list[str]) -> None:
    """Install these, one of which is known to be missing; raises as `ensure_installed` does."""
    with _one_at_a_time:
        _install(packages)


def missing_packages(*, rabbitmq: bool, mysql: bool) -> list[str]:
    packages = []
    if rabbitmq and find_rabbitmq() is None:
        packages.append("rabbitmq-server")
    if mysql and find_mysql() is None:
        packages.append("mariadb-server")
    return packages


def root_prefix() -> list[str] | None:
    """Return what to put before a command so that root runs it, or None if that is not possible."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        probe = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["sudo", "-n"]
    return None


def by_hand(packages: list[str]) -> str:
    """Return the command by which a person installs the packages."""
    return (
        "sudo apt-get update && sudo DEBIAN_FRONTEND=noninteractive "
        f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    )


def _install(packages: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise NotInstalledError(
            f"{' and '.join(packages)} not installed, and this is not Debian or Ubuntu: install "
            "them, or start Docker, or set IDALLOC_TEST_AMQP_URL, IDALLOC_TEST_MANAGEMENT_URL and "
            "IDALLOC_TEST_MYSQL_URL to servers that run"
        )
    prefix = root_prefix()
    if prefix is None:
        raise NotInstalledError(
            f"{' and '.join(packages)} not installed, and this user may not install packages; "
            f"run: {by_hand(packages)}"
        )
    print(f"devstack: installing {' and '.join(packages)} ...", file=sys.stderr, flush=True)  # noqa: T201 - it takes a minute
    _apt(prefix, packages)


def _apt(prefix: list[str], packages: list[str]) -> None:
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    with tempfile.TemporaryDirectory(prefix="idalloc-install-") as folder:
        log = Path(folder) / "apt.log"
        with log.open("wb") as output:
            result = subprocess.run(
                [*command, "sh", "-c", _SCRIPT, "sh", *packages],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        if result.returncode != 0:
            raise DevStackError(
                f"installing {' and '.join(packages)} failed; to try it by hand run: "
                f"{by_hand(packages)}\napt's output ends with:\n{tail(log)}"
            )
