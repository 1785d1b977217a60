"""A whole run of benchmarks: its time, its document, its table and its exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as runner
from benchmarks import prove
from benchmarks.harness import launch as _launch
from benchmarks.harness.environment import database_version, environment
from benchmarks.harness.programme import FULL, PROOFS, QUICK, RACES, Entry, Limits, share, time_left
from benchmarks.harness.runner import Bar, BenchmarkError, Plan, Race, Report, run
from benchmarks.harness.turns import Contender, Sample, cpu_figure
from benchmarks.report import document as _document
from benchmarks.report import table
from benchmarks.report.document import Document
from benchmarks.report.texts import as_json

URL = "http://127.0.0.1:1/"


def report(limit: float = 2.0) -> dict[str, Any]:
    """Run a race whose subject is four times its peer."""
    contenders = (
        Contender("ours", lambda _s: Sample(4000.0, {cpu_figure("worker", "request"): 25.0})),
        Contender("a | b", lambda _s: Sample(1000.0, {cpu_figure("worker", "request"): 50.0})),
    )
    race = Race(
        "A race", "requests/s", contenders, (Bar("ours", ("a | b",), limit),), cpu_per="request"
    )
    return as_json(run(race, Plan(rounds=3, seconds=0.1)))


def document(**more: Any) -> Document:
    return Document({"python": "CPython 3.11"}, {"one": report()}, **more)


def chosen(*arguments: str) -> runner.Run:
    return runner.chosen(runner._parser().parse_args(arguments))


def test_time_is_shared_out_by_need() -> None:
    """A race gets its part of what is left, and the last one all of it."""
    limits = Limits(planned=100, most=120)
    first = share([30, 10], 20, limits)
    assert first is not None
    assert first.planned == 60
    last = share([10], 50, limits)
    assert last is not None
    assert last.planned == 50


@pytest.mark.parametrize("limits", [FULL, QUICK])
def test_a_run_never_takes_longer_than_it_may(limits: Limits) -> None:
    """Even if each race has to be stopped, time is left to stop the servers."""
    passed, seconds = limits.planned / 3, [60.0, 30.0, 30.0, 10.0]
    while seconds:
        part = share(seconds, passed, limits)
        passed += part.limit if part else 0.0
        seconds = seconds[1:]
    assert passed <= limits.most - 5
    assert limits.most < {FULL: 600, QUICK: 60}[limits]


def test_without_time_nothing_is_started() -> None:
    """A race that could not measure anything does not run."""
    assert share([10], 99, Limits(planned=100, most=120)) is None
    assert share([10], 130, Limits(planned=100, most=120)) is None


def test_the_time_that_is_left() -> None:
    """It is what the races take, and no more than is planned."""
    assert time_left([10, 20], 40, Limits(100, 120)) == 30
    assert time_left([100, 200], 40, Limits(100, 120)) == 60
    assert time_left([10], 140, Limits(100, 120)) == 0


def test_the_programme_fits() -> None:
    """On a machine like ours nothing is cut in a full run, and a quick one has something of all."""
    assert sum(entry.seconds for entry in RACES) <= FULL.planned - 15
    assert all(entry.quick <= entry.seconds for entry in RACES)
    assert 3 <= sum(entry.quick > 0 for entry in RACES) <= 6
    assert len({entry.name for entry in RACES}) == len(RACES)
    assert not {entry.name for entry in RACES} & set(PROOFS)


def test_a_quick_run() -> None:
    """It has the entries for one, few rounds, and a minute; more rounds if they are asked for."""
    quick = chosen("--quick")
    assert quick.entries == tuple(entry for entry in RACES if entry.quick)
    assert quick.limits is QUICK
    assert quick.options == ("--rounds", "2")
    assert chosen("--quick", "--rounds", "3").options == ("--rounds", "3")
    assert chosen("--quick", "--only", "threads").entries[0].name == "threads"


def test_what_is_asked_for_goes_to_the_races() -> None:
    """And the budget, less what passes before the first turn."""
    asked = chosen("--only", "threads", "--seconds", "0.5", "--patience", "2")
    [entry] = asked.entries
    options = asked.options_of(entry, 30 + entry.start)
    assert options == ["--seconds", "0.5", "--patience", "2.0", "--budget", "30.0"]
    assert asked.options_of(entry, 0.5)[-1] == "1.0"


def test_a_race_that_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one it is left out, which is said and is no failure; with one it is told."""
    entry = Entry("http", 10, needs_url=True)
    monkeypatch.setattr(runner, "RACES", (entry, RACES[0]))
    without = chosen()
    assert entry not in without.entries
    assert without.left_out == {"http": runner._NO_URL}
    given = chosen("--reference-url", URL)
    assert entry in given.entries
    assert not given.left_out
    assert given.options_of(entry, 10)[-2:] == ["--reference-url", URL]
    assert URL not in given.options_of(RACES[0], 10)


def test_exit_codes() -> None:
    """0 for bars kept, 1 for a bar missed, 2 for a race that could not run."""
    missed = {"one": report(limit=5.0)}
    assert document().status == 0
    assert document(left_out={"http": "no address"}).status == 0
    assert Document({}, missed).status == 1
    assert Document({}, missed, {"two": "redis-server is missing"}).status == 2


def test_the_summary() -> None:
    """One line for each bar, and for what did not run."""
    text = document(not_run={"two": "redis-server is missing"}, left_out={"http": "no address"})
    lines = text.summary().splitlines()
    spread = "(rounds 4.00 to 4.00, middle half 0% wide)"
    assert f"one              met    ours / a | b: 4.00 {spread}, bar >= 2" in lines
    assert "two              COULD NOT RUN: redis-server is missing" in lines
    assert "http             left out: no address" in lines


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Nothing is lost on the way through a file; the environment is in it once."""
    path = tmp_path / "new" / "results.json"
    written = document(not_run={"two": "why"}, quick=True, seconds=12.0)
    _document.save(written, path)
    assert _document.load(path) == written
    assert json.loads(path.read_text())["format"] == _document.FORMAT


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "x": 2}'])
def test_what_is_no_document(text: str, tmp_path: Path) -> None:
    """It is refused by the name of the file."""
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(BenchmarkError, match=r"results\.json"):
        _document.load(path)


def test_races_and_reasons_are_told_apart() -> None:
    """What a race's process wrote is a report or says why there is none."""
    one = report()
    found = {"one": {**one, "environment": {"python": "x"}}, "two": {"error": "no redis"}}
    races, reasons = _document.split(found)
    assert races == {"one": {name: one[name] for name in one if name != "environment"}}
    assert reasons == {"two": "no redis"}


def test_a_race_that_cannot_run(tmp_path: Path) -> None:
    """Its process may end without a report, or not at all: the others go on, and it is said why."""
    output = tmp_path / "report.json"
    crashed = _launch.race("_no_such_benchmark", [], {}, 60, output)
    assert crashed["error"].startswith("ended with status 1 and no report")
    stopped = _launch.race("frames", ["--seconds", "60"], {}, 0.1, output)
    assert stopped["error"].startswith("was stopped after 0 s")
    ran = _launch.race("frames", ["--seconds", "0.1", "--rounds", "1"], {}, 60, output)
    assert ran["title"] == "A message's frames"


def test_a_run_without_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what names a broker is refused with exit code 2, before anything starts."""
    monkeypatch.setenv("IDALLOC_TEST_AMQP_URL", "amqp://127.0.0.1:1/")
    monkeypatch.delenv("IDALLOC_TEST_MANAGEMENT_URL", raising=False)
    assert runner.main(["--quick"]) == 2
    assert prove.main([]) == 2


def test_the_table() -> None:
    """Each contender with its rounds, each bar with what came of it, and what is missing."""
    text = table.as_markdown(document(quick=True, not_run={"two": "redis-server is missing"}))
    lines = text.splitlines()
    costs = "all CPU us/request | worker CPU us/request"
    assert f"| contender | {costs} | median requests/s | low | high |" in lines
    assert "| --- | ---: | ---: | ---: | ---: | ---: |" in lines
    assert "| ours | 25 | 25 | 4,000 | 4,000 | 4,000 |" in lines
    assert r"| a \| b | 50 | 50 | 1,000 | 1,000 | 1,000 |" in lines
    cost, figure = (line for line in lines if line.startswith(r"| ours / a \| b |"))
    assert cost == r"| ours / a \| b | all CPU us/request | 0.50 | 0.50 | 0.50 | 0% | none |  |"
    assert figure == r"| ours / a \| b | requests/s | 4.00 | 4.00 | 4.00 | 0% | ≥ 2 | kept |"
    assert "- `two`: redis-server is missing" in lines
    assert "| python | CPython 3.11 |" in lines
    assert "quick run" in text
    assert "quick run" not in table.as_markdown(document())


def test_a_table_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables can be written again from the results; a file that is none is exit code 2."""
    results, out = tmp_path / "results.json", tmp_path / "results.md"
    assert table.main([str(results), str(out)]) == 2
    assert "results.json" in capsys.readouterr().err
    written = document()
    _document.save(written, results)
    assert table.main([str(results), str(out)]) == 0
    assert out.read_text() == table.as_markdown(written)


def test_what_is_recorded_of_the_machine() -> None:
    """Enough to tell two runs apart."""
    found = environment()
    assert {"date", "python", "system", "cpus", "cpu", "pika", "PyMySQL", "pydantic"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
    assert database_version("10.11.6-MariaDB") == "MariaDB 10.11.6-MariaDB"
    assert database_version("9.7.0") == "MySQL 9.7.0"


def test_what_the_proofs_say() -> None:
    """One line for each, and the worst of their exit codes."""
    assert prove.status({"a": 0, "b": 0}) == 0
    assert prove.status({"a": 0, "b": 1}) == 1
    assert prove.status({"a": 1, "b": 2}) == 2
    assert prove.status({"a": 1, "b": -11}) == 2
    text = prove.summary({"outage": 0, "rewind": 1, "promotion": 2})
    assert text.splitlines() == [
        "outage         kept",
        "rewind         MISSED",
        "promotion      could not run; its reason stands above",
    ]


def test_a_report_keeps_what_its_figures_need() -> None:
    """Six digits are enough of a figure, and a race says what its CPU time is for."""
    race = Race("r", "ids/s", [Contender("a", lambda _s: 1234567.891)], (), cpu_per="id")
    given: Report = run(race, Plan(rounds=1, seconds=0.1))
    written = as_json(given)
    assert written["cpu_per"] == "id"
    assert written["contenders"][0]["figures"] == [1234570.0]
