"""The benchmarks whose bars are counts: how they count, and what they say."""

import asyncio
import json
import socket
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.crews.census import Census, Ledger, take_census
from benchmarks.harness import proof as _proof
from benchmarks.harness.level import growth, level
from benchmarks.harness.proof import Effort, Finding, Proof
from benchmarks.harness.runner import BenchmarkError
from idalloc_client import IdClient

EFFORT = Effort(amount=10, seconds=1.0, budget=10.0)


def ledgers(folder: Path, *drawers: list[int]) -> Iterator[Path]:
    """Write down what each drawer got."""
    for number, ids in enumerate(drawers):
        path = folder / f"{number}.ids"
        with Ledger(path) as ledger:
            for value in ids:
                ledger.add(value)
        assert ledger.count == len(ids)
        yield path


def test_every_id_once(tmp_path: Path) -> None:
    """Ids that drawers got by turns are neither duplicates nor out of order."""
    census = take_census(ledgers(tmp_path, [1, 4, 5], [2, 3, 9]))
    assert census == Census(ids=6, duplicates=0, falls=0, highest=9)


def test_duplicates_are_counted(tmp_path: Path) -> None:
    """Between drawers and within one, each time that an id comes again."""
    assert take_census(ledgers(tmp_path, [1, 2, 3], [3, 4], [3, 5])).duplicates == 2
    repeated = take_census(ledgers(tmp_path, [7, 7]))
    assert (repeated.duplicates, repeated.falls) == (1, 1)


def test_falls_are_counted_across_chunks(tmp_path: Path) -> None:
    """A long file is read in parts, and order is kept track of from one to the next."""
    up = list(range(1, 200_001))
    assert take_census(ledgers(tmp_path, [*up, 200_000])).falls == 1
    assert take_census(ledgers(tmp_path, up)) == Census(200_000, 0, 0, 200_000)


def test_an_impossible_id(tmp_path: Path) -> None:
    """An id below 1 is no id."""
    path = tmp_path / "bad.ids"
    path.write_bytes(array("q", [5, 0]).tobytes())
    with pytest.raises(BenchmarkError, match="below 1"):
        take_census([path])


def test_growth_is_seen() -> None:
    """A thread, a task, a timer, a descriptor and an object of the client, while they are there."""

    async def run() -> None:
        IdClient("amqp://nobody:nothing@127.0.0.1:1/").close()  # a process has some things once
        before = level()
        timer = asyncio.get_running_loop().call_later(60, print)
        task = asyncio.create_task(asyncio.sleep(60))
        client = IdClient("amqp://nobody:nothing@127.0.0.1:1/")
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        with socket.socket():
            grown = growth(before, level())
        assert {"timer", "task", "thread", "descriptor"} <= set(grown)
        assert grown["idalloc_client._clients._client.IdClient"] == 1
        done.set()
        thread.join()
        timer.cancel()
        task.cancel()
        await asyncio.wait([task])
        client.close()
        del task, client, timer, thread
        await asyncio.sleep(0)  # the loop forgets what it has just done
        assert not growth(before, level())

    asyncio.run(run())


def test_bounds() -> None:
    """A finding is met within its bounds, and always without any."""
    assert Finding("duplicates", 0, at_most=0).met
    assert not Finding("duplicates", 1, at_most=0).met
    assert not Finding("ids", 9, at_least=10).met
    assert Finding("unused", 9).met
    assert Finding("ids", 12_345, at_least=10_000).line == "met    ids: 12,345, bar >= 10,000"
    assert Finding("duplicates", 1, at_most=0).line == "MISSED duplicates: 1, bar <= 0"
    assert Finding("unused", 9, note="of 10").line == "info   unused: 9, of 10"


def test_the_status_says_how_it_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As with the other benchmarks: 0 kept, 1 missed, 2 could not run."""
    output = tmp_path / "report.json"

    def command(found: int) -> int:
        proof = Proof("title", [Finding("duplicates", found, at_most=0)])
        return _proof.main(lambda _effort: proof, "text", "ids", EFFORT, ["--json", str(output)])

    def fail(_effort: Effort) -> Proof:
        raise BenchmarkError("no broker")

    assert command(0) == 0
    assert json.loads(output.read_text())["met"] is True
    assert command(3) == 1
    written = json.loads(output.read_text())
    assert written["met"] is False
    assert written["bars"][0]["line"] == "MISSED duplicates: 3, bar <= 0"
    assert "MISSED duplicates: 3" in capsys.readouterr().out
    assert _proof.main(fail, "text", "ids", EFFORT, []) == 2
    assert "no broker" in capsys.readouterr().err


def test_what_is_asked_for_replaces_the_default() -> None:
    """The amount under its own name, and the time."""
    seen: list[Effort] = []

    def prove(effort: Effort) -> Proof:
        seen.append(effort)
        return Proof("title", [])

    assert _proof.main(prove, "text", "ids", EFFORT, ["--ids", "7", "--seconds", "2.5"]) == 0
    assert _proof.main(prove, "text", "calls", EFFORT, []) == 0
    assert seen == [Effort(7, 2.5, 10.0), EFFORT]
