"""Commands that are started as forks: each is a process of its own, as if it had been executed."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest

from devstack.warm_start import WarmProcess, WarmStart
from devstack.workers import PATIENCE
from tests.waiting import wait_until

BROKER = "amqp://guest:guest@127.0.0.1:1/"
"""Where nobody listens."""
WAIT = ["next", "x", "--timeout", "1000"]
"""A command that goes on until it is ended."""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmStart]:
    """Begin in any folder, and where hangups are ignored, as under `nohup`."""
    folder = tmp_path_factory.mktemp("warm")
    with WarmStart() as running:
        with handled({signal.SIGHUP: signal.SIG_IGN}), chdir(folder):
            started(running, folder / "log", ["--version"]).wait(PATIENCE)
        yield running


@contextmanager
def handled(signals: dict[signal.Signals, signal.Handlers]) -> Iterator[None]:
    """Ignore some signals, or do not."""
    before = {one: signal.signal(one, handler) for one, handler in signals.items()}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def started(
    warm: WarmStart, log: Path, arguments: Sequence[str], **environment: str
) -> WarmProcess:
    process = warm.start(arguments, {**os.environ, **environment}, log)
    assert process is not None
    return process


@pytest.mark.parametrize(
    "arguments", [["--version"], ["worker"], ["no-such-command"], ["next", "--help"]], ids=" ".join
)
def test_it_does_what_a_process_of_its_own_does(
    warm: WarmStart, tmp_path: Path, arguments: list[str]
) -> None:
    """The same exit status, and the same on both outputs."""
    log = tmp_path / "log"
    status = started(warm, log, arguments).wait(PATIENCE)
    command = [sys.executable, "-m", "idalloc_worker", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert (status, log.read_bytes()) == (done.returncode, done.stdout)


def test_environment_and_folder_are_its_own(
    warm: WarmStart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is named by a relative path in a variable is found where the caller is."""
    monkeypatch.chdir(tmp_path)
    log, secret = tmp_path / "log", tmp_path / "secret"
    secret.write_text("http://wrong")
    assert started(warm, log, ["worker"], IDALLOC_MYSQL_URL_FILE="secret").wait(PATIENCE) == 2
    assert "must begin with mysql://" in log.read_text()


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGUSR1])
def test_it_ignores_what_its_starter_ignores(
    warm: WarmStart, tmp_path: Path, ignored: signal.Signals
) -> None:
    """Whatever the process ignores that it is a fork of."""
    two = dict.fromkeys([signal.SIGHUP, signal.SIGUSR1], signal.SIG_DFL)
    with handled(two | {ignored: signal.SIG_IGN}):
        process = started(warm, tmp_path / "log", WAIT, IDALLOC_AMQP_URL=BROKER)
    wait_until(
        lambda: [ignores(process.pid, one) for one in two] == [one == ignored for one in two]
    )
    process.kill()
    process.wait(PATIENCE)


def ignores(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = (line.split()[1] for line in lines if line.startswith("SigIgn:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_it_can_be_stopped_and_killed(warm: WarmStart, tmp_path: Path) -> None:
    """A signal ends it and nobody else, and its status tells which."""
    first, second = (
        started(warm, tmp_path / name, WAIT, IDALLOC_AMQP_URL=BROKER)
        for name in ("first", "second")
    )
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0)
    first.kill()
    assert first.wait(PATIENCE) == -signal.SIGKILL
    assert second.poll() is None
    second.kill()
    assert second.wait(PATIENCE) == -signal.SIGKILL
    second.kill()  # once more does no harm


def test_they_end_with_who_started_them(tmp_path: Path) -> None:
    """As all that tests start."""
    with WarmStart() as warm:
        process = started(warm, tmp_path / "log", WAIT, IDALLOC_AMQP_URL=BROKER)
        end = os.pidfd_open(process.pid)
    try:
        assert select.select([end], [], [], PATIENCE)[0]
    finally:
        os.close(end)


@pytest.mark.parametrize("name", ["PYTHONPATH", "OTEL_SDK_DISABLED", "TZ"])
def test_what_imports_may_read_starts_nothing(warm: WarmStart, tmp_path: Path, name: str) -> None:
    """Another interpreter is needed then."""
    assert warm.start(WAIT, {**os.environ, name: "other"}, tmp_path / "log") is None


def test_a_command_finds_its_imports_done() -> None:
    """Else each worker of a test imports for itself, which takes three quarters of its CPU time."""
    code = """if True:
        import contextlib, io, sys
        from devstack.warm_start import import_commands
        from idalloc_worker.cli import run
        from idalloc_worker.cli._main import _COMMANDS
        import_commands()
        imported = set(sys.modules)
        for command in _COMMANDS:
            sys.argv = ["idalloc", command, "--help"]
            with contextlib.redirect_stdout(io.StringIO()):
                assert run() == 0
        print(*{name.partition(".")[0] for name in set(sys.modules) - imported})
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    ours = {"idalloc_client", "idalloc_schemas", "idalloc_worker", "pika", "pydantic", "pymysql"}
    assert not ours & set(done.stdout.split())
