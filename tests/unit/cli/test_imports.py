"""What a command does not need is not imported: it would be most of what the command costs."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {
    "importlib.metadata",
    "cryptography",
    "opentelemetry.context",
    "prometheus_client",
    "pydantic",
    "pymysql",
}

DRAW = """
import json, sys
import click, pika
before = {*sys.modules}
from idalloc_worker.cli import run
from idalloc_client._rpc import RawReply, alloc_request
from idalloc_schemas import encode_alloc_success

status = run(sys.argv[1:])  # as far as a broker that is away lets it come
print(*alloc_request("order", 2).read(RawReply(encode_alloc_success([(1, 2), (5, 6)]), "")),
      file=sys.stderr)
print(json.dumps([status, sorted({*sys.modules} - before)]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["next", "--help"], 0), (["next", "order", "--timeout", "0.01"], 1)],
)
def test_to_draw_an_id_little_is_imported(arguments: list[str], status: int) -> None:
    """No models and no database, from the command's name to the reply; beside pika and click."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("IDALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, *arguments],
        env={
            **environ,
            "IDALLOC_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/",
            "IDALLOC_MYSQL_URL": "mysql://me@127.0.0.1/ids",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *_, ids, told = done.stderr.splitlines()
    assert ids == "1 5"
    was, imported = json.loads(told)
    assert was == status
    assert not HEAVY & {*imported}
    rooms = {name.split(".")[1] for name in imported if name.startswith("idalloc_worker.")}
    assert rooms == {"_errors", "cli", "settings"}
    assert len(imported) <= 130, "that many modules take long: which are needed?"


WORKER = """
import json, sys
from idalloc_worker.cli import run

run(["worker", "--help"])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_a_worker_imports_no_clients() -> None:
    """Nor what tells Prometheus of it, unless it is to: it serves its first id the sooner."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER], capture_output=True, text=True, timeout=60, check=True
    )
    imported = json.loads(done.stderr)
    assert not {"prometheus_client", "idalloc_client._clients", "http.server"} & {*imported}
    assert "idalloc_worker.process" in imported


def test_garbage_is_collected_once_a_command_is_loaded() -> None:
    """Imports go without; what a worker leaves later is found."""
    script = (
        "import gc, sys; sys.argv[1:] = ['worker', '--probe', 'nonsense'];"
        "from idalloc_worker.__main__ import main; main();"
        "sys.exit(not gc.isenabled() or not gc.get_freeze_count())"
    )
    subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL, timeout=60, check=True
    )
