"""`idalloc audit` as it is typed: what it prints, and how it ends."""

import io
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.history import Recorder, Reply
from idalloc_worker.cli import run


def written(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_a_clean_history_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The records of the tests' own callers can be read, and gaps are only counted."""
    with Recorder(tmp_path) as recorder:
        recorder.record(Reply("order", ((1, 3),), "w", "c", 1.0, 2.0))
        recorder.record(Reply("order", ((7, 9),), "w", "c", 3.0, 4.0))
    assert run(["audit", *map(str, tmp_path.iterdir())]) == 0
    heading, line, summary = capsys.readouterr().out.splitlines()
    assert dict(zip(heading.split(), line.split(), strict=True)) == {
        "TAG": "order",
        "IDS": "4",
        "LOWEST": "1",
        "HIGHEST": "8",
        "GAPS": "1",
        "MISSING": "4",
        "DUPLICATES": "0",
        "FALLS": "0",
    }
    assert summary == "2 records; the order of 2 could be looked at"


def test_faults_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also beside lines that say nothing; each fault is told with the places of both records."""
    first = written(tmp_path, "a.csv", "id", "7", "8", "9", "x")
    second = written(tmp_path, "b.csv", "9", "8", "70")
    fields = {"app_tag": "order", "sent_at": 2, "received_at": 3}
    third = written(
        tmp_path,
        "c.jsonl",
        json.dumps(fields | {"id": 100, "received_at": 2.5}),
        json.dumps(fields | {"id": 50, "sent_at": 2.75}),
    )
    assert run(["audit", "--tag", "order", "--ordered", "order", first, second, third]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2:] == [
        f"order 8: {first}:3 and {second}:2",
        f"order 9: {first}:4 and {second}:1",
        f"order 50: {third}:2, asked for after 100 had come ({third}:1)",
        "8 records; the order of 2 could be looked at",
    ]
    assert err.startswith(f"idalloc: {first}:5: ")
    assert run(["audit", "--clocks", "1", "--ordered", "order", third]) == 0


@pytest.mark.parametrize("lines", [(), ("id", "x"), ("name", "7"), ("1", "x")])
def test_what_cannot_be_told_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: tuple[str, ...]
) -> None:
    """Nothing to read, or something that cannot be read, is no clean history."""
    assert run(["audit", written(tmp_path, "a.csv", *lines)]) == 2
    assert capsys.readouterr().err.startswith("idalloc: ")


@pytest.mark.parametrize("name", ["gone.csv", "."])
def test_a_file_that_is_none_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """1 would say that ids came twice."""
    monkeypatch.chdir(tmp_path)
    assert run(["audit", name]) == 2


def test_input_that_breaks_off_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk does that fails; a part of a history does not pass for the whole."""
    with Path("/proc/self/mem").open() as broken:  # its first byte cannot be read
        monkeypatch.setattr(sys, "stdin", broken)
        assert run(["audit", "-"]) == 2


def test_a_python_without_sqlite_cannot_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And has all other commands, as none but this one needs it."""
    for module in [name for name in sys.modules if name.startswith("idalloc_worker.audit")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert run(["audit", "-"]) == 2
    assert capsys.readouterr().err == "idalloc: sqlite3 is missing in this Python\n"


def test_the_standard_input_is_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for what a database's client prints; a tag that nobody named is a dash."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfid\n5\n6\n")))
    assert run(["audit", "-", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["records"] == 2
    assert [(tag["app_tag"], tag["ids"], tag["missing"]) for tag in report["tags"]] == [("-", 2, 0)]


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ids in an order of chance fit into memory that a set of them would not."""
    prime = 1_300_027
    file = tmp_path / "ids"
    one = 1
    with file.open("w") as lines:
        for _ in range(prime - 1):
            one = one * 2 % prime  # 2 is a primitive root, so that each number comes once
            lines.write(f"{one}\n")
        lines.write("7\n")
    done = subprocess.run(
        [sys.executable, "-m", "idalloc_worker", "audit", "--json", str(file)],
        preexec_fn=little_memory,  # one system call, no lock
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    [tag] = json.loads(done.stdout)["tags"]
    assert (tag["ids"], tag["missing"], tag["duplicates"]) == (prime, 0, 1)


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (120 * 2**20, 120 * 2**20))
