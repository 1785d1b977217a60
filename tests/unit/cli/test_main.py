"""The command line turns every outcome into an exit code and a line, before any database."""

import subprocess
import sys
from collections.abc import Callable

import click
import pytest

import idalloc_worker
from idalloc_client import IdAllocError
from idalloc_worker import __main__ as entry
from idalloc_worker.cli._main import cli, run
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.tags._errors import TagNotFoundError


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out."""
    monkeypatch.delenv("IDALLOC_MYSQL_URL", raising=False)


def paths(group: click.Group, *above: str) -> list[tuple[str, ...]]:
    """Every command, by the words that lead to it."""
    found: list[tuple[str, ...]] = [above]
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            found += paths(command, *above, name)
        else:
            found.append((*above, name))
    return found


@pytest.mark.parametrize("path", paths(cli), ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(
    path: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--help prints usage and what the command is for, and succeeds."""
    assert run([*path, option]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: {' '.join(('idalloc', *path))}")
    assert "--config FILE" in out
    assert err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version names product and version."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("idalloc 0.")


@pytest.mark.parametrize("arguments", [[], ["tags"]])
def test_a_bare_group_shows_its_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a command there is help on the standard error, and exit code 2."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, "Commands:" in err) == ("", True)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["tags", "add"], "Missing argument 'TAG'"),
        (["tags", "add", "a b", "--step", "1"], "'a b' is not an app tag"),
        (["tags", "add", "order", "--step", "0"], "'--step'"),
        (["tags", "set", "order"], "--step or --max-id"),
        (["--config"], "--config"),
        (["--config", "nowhere.toml", "tags", "list"], "nowhere.toml: cannot be read"),
        (["tags", "list", "--config", "nowhere.yaml"], "must end in .toml or .json"),
        (["tags", "list"], "IDALLOC_MYSQL_URL"),
        (["init"], "IDALLOC_MYSQL_URL"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage and configuration errors say what is wrong on one line of the standard error."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("idalloc: ")
    assert problem in err


def raising(error: BaseException) -> Callable[..., object]:
    def main(*_: object, **__: object) -> object:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (SettingsError(("one", "two")), 2, ["idalloc: one", "idalloc: two"]),
        (TagNotFoundError("order"), 1, None),
        (IdAllocError("no route\nto a worker"), 1, ["idalloc: no route to a worker"]),
        (click.ClickException("nothing was removed"), 1, ["idalloc: nothing was removed"]),
        (
            OSError(28, "No space left on device"),
            1,
            ["idalloc: [Errno 28] No space left on device"],
        ),
        (KeyboardInterrupt(), 130, []),
        (click.exceptions.Abort(), 130, []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_has_its_exit_code(
    error: BaseException,
    code: int,
    lines: list[str] | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0 done, 1 it failed, 2 misused, 130 interrupted; each problem is a line of its own."""
    monkeypatch.setattr(cli, "main", raising(error))
    assert run([]) == code
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 if lines is None else told == lines


@pytest.mark.parametrize("missing", ["click", "pymysql", "pythonjsonlogger"])
def test_without_the_extra_it_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain install has the command, which names the extra that it needs."""
    for name in [name for name in sys.modules if name.startswith("idalloc_worker.")]:
        room = name.removeprefix("idalloc_worker.")
        if "." not in room:  # what is imported anew is bound to the package as well
            monkeypatch.setattr(idalloc_worker, room, sys.modules[name])
        monkeypatch.delitem(sys.modules, name)
    for module in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(sys, "argv", ["idalloc", "worker", "--help"])
    assert entry.main() == 2
    told = capsys.readouterr().err
    assert told == (
        "idalloc: the command line needs the worker extra: pip install 'idalloc[worker]'\n"
    )


def test_the_module_runs_the_command() -> None:
    """`python -m idalloc_worker` is the command."""
    done = subprocess.run(
        [sys.executable, "-m", "idalloc_worker", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tags", "set", "order", "--ordered"], "idalloc tags set --help"),
        (["tags", "add", "order", "--step"], "idalloc tags add --help"),
        (["next", "order", "--timeout"], "idalloc next --help"),
        (["--config"], "idalloc --help"),
        (["tags", "set", "order", "--ordered", "maybe"], "none of yes, no and default"),
    ],
)
def test_an_error_says_what_helps(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the help of the command that was meant, and the values as the help has them."""
    assert run(arguments) == 2
    assert said in capsys.readouterr().err


def test_help_says_what_becomes_of_ids(capsys: pytest.CaptureFixture[str]) -> None:
    """A stop returns them, a crash loses them, and a removed tag's are dropped at a refill."""
    run(["tags", "add", "--help"])
    run(["tags", "remove", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "crashes: it leaves up to two segments" in told
    assert "drop the rest" in told
