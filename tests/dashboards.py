"""The command `idalloc dashboard`, run by tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from devstack.workers import end_with_parent

NO_BROKER = "amqp://guest:guest@127.0.0.1:1/"


@contextmanager
def dashboard(amqp_url: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run the command on a free port."""
    with subprocess.Popen(
        [sys.executable, "-m", "idalloc_worker", "dashboard", "--listen", "127.0.0.1:0", *options],
        env={**os.environ, "IDALLOC_AMQP_URL": amqp_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("The dashboard is at http://"), line or process.communicate()
    return line.split()[-1]
