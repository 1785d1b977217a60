"""The sweeps of `benchmarks.races.scaling`: their points, and how they are drawn."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.harness.queue_share import queue_share
from benchmarks.harness.runner import BenchmarkError, Report, Result, Spread
from benchmarks.harness.site import Site
from benchmarks.harness.turns import cpu_figure
from benchmarks.harness.wire_bytes import wire_bytes
from benchmarks.races import scaling
from benchmarks.report import curves as _curves
from benchmarks.report import sweeps as _sweeps
from benchmarks.report.points import point, scaling_report, series_of
from benchmarks.report.sweeps import percentile
from benchmarks.report.texts import as_json
from devstack import Database


def swept(*names: str) -> dict[str, Any]:
    """Make a report, as JSON has it, in which each contender has the figures of a point."""
    parts = ("client", "worker", "broker", "mysql")
    more = {
        **{cpu_figure(part, _sweeps.PER): Spread((10.0,)) for part in parts},
        "median ms": Spread((0.5,)),
        "p99 ms": Spread((2.0,)),
    }
    results = tuple(Result(name, Spread((1000.0, 1200.0)), {}, more) for name in names)
    return as_json(Report("Scaling", results=results))


def test_points_are_found_again() -> None:
    """What a contender is called tells the series and the value; other names are no points."""
    name = point("tags in rotation", 10_000)
    assert name == "tags in rotation = 10,000"
    [(series, points)] = series_of(swept(name, "bytes")["contenders"]).items()
    assert series == "tags in rotation"
    assert points[10_000]["median"] == 1100


def test_the_report_is_found_in_results() -> None:
    """Alone in a file, or among the races of a whole run."""
    report = swept("a = 1")
    assert scaling_report(report) is report
    assert scaling_report({"format": 1, "races": {"scaling": report}}) is report
    with pytest.raises(BenchmarkError, match="no scaling report"):
        scaling_report({"races": {}})


@pytest.mark.usefixtures("drawing")
def test_each_sweep_becomes_a_drawing(tmp_path: Path) -> None:
    """A file for each, none for a sweep that was not run, and text that can be searched."""
    names = [
        *(point(_sweeps.TAGS_SERIES, number) for number in _sweeps.TAGS),
        *(point(_sweeps.CLIENT_SERIES, number) for number in _sweeps.CALLERS),
        *(point(_sweeps.PLAIN_SERIES, number) for number in _sweeps.CALLERS),
    ]
    drawn = {path.name: path.read_text() for path in _curves.save(swept(*names), tmp_path / "new")}
    assert set(drawn) == {"scaling-tags.svg", "scaling-callers.svg", "scaling-latency.svg"}
    assert "calls/s" in drawn["scaling-tags.svg"]
    assert "10,000" in drawn["scaling-tags.svg"]
    assert "AsyncIdClient: p99 ms" in drawn["scaling-latency.svg"]


@pytest.mark.usefixtures("drawing")
def test_the_same_figures_make_the_same_drawing(tmp_path: Path) -> None:
    """Otherwise each run of it would be a change of the documentation."""
    report = swept(*(point(_sweeps.TAGS_SERIES, number) for number in _sweeps.TAGS))
    [first], [second] = (_curves.save(report, tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.usefixtures("drawing")
def test_drawing_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command reads a report and names what it wrote."""
    source = tmp_path / "results.json"
    source.write_text(json.dumps({"races": {"scaling": swept(point(_sweeps.TAGS_SERIES, 1))}}))
    assert _curves.main([str(source), str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'scaling-tags.svg'}\n"


def test_sweeps_are_put_together() -> None:
    """Figures of all, and the least number of rounds that any of them had."""
    one, two = (Result(name, Spread((1.0,)), {}) for name in ("one", "two"))
    both = scaling.joined(
        [Report("a", results=(one,), rounds=3), Report("b", results=(two,), rounds=2)]
    )
    assert both.results == (one, two)
    assert both.rounds == 2


def test_only_sweeps_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none is refused with those that are."""
    with pytest.raises(SystemExit):
        scaling.main(["--only", "moon"])
    assert "processes" in capsys.readouterr().err


def test_the_bar_is_about_many_tags_and_one() -> None:
    """The issue's bar: at least 0.9 of the rate with one tag."""
    bar = _sweeps.TAGS_BARS[0]
    assert (bar.subject, bar.peers) == ("tags in rotation = 10,000", ("tags in rotation = 1",))
    assert bar.limit == 0.9
    assert bar.at_least


def test_tags_are_added_in_one_statement() -> None:
    """Each with the step, and with one that follows the use unless it is fixed."""

    class Recorder:
        statements: list[str]

        def __init__(self) -> None:
            self.statements = []

        def query(self, sql: str) -> None:
            self.statements.append(sql)

    recorder = Recorder()
    site = Site("amqp://", {}, cast("Database", recorder), "http://")
    assert site.add_tags("t", 2, 50) == ["t0", "t1"]
    assert site.add_tags("s", 1, 7, fixed=True) == ["s0"]
    following, fixed = recorder.statements
    assert following.endswith("VALUES ('t0', 50, NULL), ('t1', 50, NULL)")
    assert fixed.endswith("VALUES ('s0', 7, 0)")


@pytest.mark.parametrize(("share", "value"), [(0.0, 0), (0.5, 50), (0.99, 99), (1.0, 99)])
def test_percentiles(share: float, value: float) -> None:
    """Of a hundred values the last one is the highest percentile."""
    assert percentile(range(100), share) == value


def test_the_share_of_a_queue() -> None:
    """What was there before does not count, and what came meanwhile does."""
    before = {("queue", "id.alloc"): 100, ("channel", "a"): 1000}
    after = {("queue", "id.alloc"): 150, ("channel", "a"): 1100, ("connection", "b"): 50}
    assert queue_share(before, after) == 50 / 200


def test_bytes_on_the_wire() -> None:
    """The broker puts a longer address in place of the caller's, on both ways through it."""
    wire = wire_bytes()
    assert wire.to_worker > wire.from_caller > len('{"app_tag":"order"}')
    assert wire.broker_in == wire.from_caller + wire.from_worker
    assert wire.broker_out == wire.to_worker + wire.to_caller
