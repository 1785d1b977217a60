"""The benchmarks' own arithmetic and command lines; their figures are nobody's to assert."""

import importlib
import importlib.util
import json
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from benchmarks.harness import command as _command
from benchmarks.harness import machine as _machine
from benchmarks.harness.programme import APART, PROOFS, RACES, module_of
from benchmarks.harness.runner import Bar, BenchmarkError, Plan, Race, Report, Spread, judge, run
from benchmarks.harness.turns import (
    OTHERS,
    Contender,
    Sample,
    Turn,
    cpu_figure,
    cpu_part,
    joined,
)
from benchmarks.report.texts import as_json, as_text

PLAN = Plan(rounds=3, seconds=1.0, budget=1000)
SCRIPTS = (*(entry.name for entry in RACES), *PROOFS, *APART)
HAVE_NO_PLAN = ("attacks", "promotion", "rewind", "simulation")  # their options say how much to do


def from_figures(name: str, figures: list[float], calls: list[str] | None = None) -> Contender:
    """Make a contender that gives its warm-up figure and then these."""
    given: Iterator[float] = iter([-1.0, *figures])

    def measure(_seconds: float) -> float:
        if calls is not None:
            calls.append(name)
        return next(given)

    return Contender(name, measure)


def ticking(step: float) -> Callable[[], float]:
    """Make a clock on which time passes only when it is read."""
    ticks = count(0.0, step)
    return lambda: next(ticks)


def race(*contenders: Contender, bars: tuple[Bar, ...] = ()) -> Race:
    return Race("race", "ids/s", contenders, bars)


def test_contenders_take_turns() -> None:
    """Each is warmed up once, and then they alternate."""
    calls: list[str] = []
    run(race(from_figures("a", [1, 1, 1], calls), from_figures("b", [1, 1, 1], calls)), PLAN)
    assert calls == ["a", "b"] * 4


def test_those_that_alternate_take_turns_in_pieces() -> None:
    """A B A B within a round, in a second four times; what else there is comes once."""
    calls: list[str] = []
    contenders = (
        from_figures("a", [1, 2, 3, 4], calls),
        from_figures("slow", [7], calls),
        from_figures("b", [1, 1, 1, 1], calls),
    )
    one = Plan(rounds=1, seconds=1.0, budget=1000)
    report = run(replace(race(*contenders), alternating=("a", "b")), one, ticking(0.5))
    assert calls == ["a", "slow", "b", *["a", "b"] * 4, "slow"]
    assert [result.figures.values for result in report.results] == [(2.5,), (7,), (1,)]


def test_a_quiet_machine_is_waited_for_before_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not between its pieces: they would be further apart, and there would be fewer rounds."""
    calls: list[str] = []

    def wait(_patience: float) -> bool:
        calls.append("wait")
        return False

    monkeypatch.setattr("benchmarks.harness.runner.wait_for_quiet", wait)
    contenders = (from_figures("a", [1] * 4, calls), from_figures("b", [1] * 4, calls))
    one = Plan(rounds=1, seconds=1.0, budget=1000)
    run(replace(race(*contenders), alternating="all"), one, ticking(0.5))
    assert calls == ["a", "b", "wait", "a", "wait", "b", *["a", "b"] * 3]


def test_the_pieces_of_a_turn_count_by_their_length() -> None:
    """Ids per second are all ids by all the time, and so is CPU time; what others used is apart."""
    pieces = [
        Turn(Sample(100.0), 1.0, {"client": 0.5, OTHERS: 0.0}),
        Turn(Sample(400.0), 2.0, {"client": 0.4, OTHERS: 0.3}),
    ]
    turn = joined(pieces)
    assert turn.sample.figure == 300
    assert turn.cpu == pytest.approx({"client": 0.3, OTHERS: 0.1})
    assert turn.figures("id") == pytest.approx({"all CPU us/id": 1000, "client CPU us/id": 1000})
    assert joined(pieces[:1]) is pieces[0]


def test_the_warm_up_does_not_count() -> None:
    """Only the rounds are in the figures."""
    report = run(race(from_figures("a", [5, 1, 3])), PLAN)
    [result] = report.results
    assert result.figures.values == (5, 1, 3)
    assert (result.figures.low, result.figures.median, result.figures.high) == (1, 3, 5)


def test_a_ratio_is_one_of_each_round() -> None:
    """A machine that is slow in one round slows both sides of it, and the ratio stays."""
    fast_slow_fast = [10.0, 1.0, 10.0]
    report = run(
        race(
            from_figures("ours", [figure * 4 for figure in fast_slow_fast]),
            from_figures("peer", fast_slow_fast),
            bars=(Bar("ours", ("peer",), 4),),
        ),
        PLAN,
    )
    [verdict] = report.verdicts
    assert verdict.ratios.values == (4, 4, 4)
    assert report.met


def test_the_median_ratio_decides() -> None:
    """One disturbed round neither breaks a bar nor saves it."""
    figures = {"ours": Spread((9, 9, 100)), "peer": Spread((10, 10, 10))}
    assert not judge(Bar("ours", ("peer",), 1), figures).met
    assert judge(Bar("ours", ("peer",), 0.9), figures).met


def test_the_best_peer_counts() -> None:
    """Of several peers it is the fastest, or the one that takes the least time."""
    figures = {"ours": Spread((6,)), "x": Spread((5,)), "y": Spread((4,))}
    assert judge(Bar("ours", ("x", "y"), 1), figures).peer == "x"
    assert judge(Bar("ours", ("x", "y"), 1, at_least=False), figures).peer == "y"


def test_a_bar_on_times_is_a_ceiling() -> None:
    """Where figures are times, a ratio above the bar misses it."""
    bar = Bar("ours", ("peer",), 1.15, at_least=False)
    assert bar.met_by(1.15)
    assert not bar.met_by(1.16)


def test_a_ratio_without_a_bar() -> None:
    """Such a ratio is told, and nothing is missed by it."""
    bars = (Bar("a", ("b",), None),)
    contenders = (from_figures("a", [1, 1, 1]), from_figures("b", [9, 9, 9]))
    report = run(race(*contenders, bars=bars), PLAN)
    assert report.met
    assert "info   a / b: 0.11 (rounds 0.11 to 0.11, middle half 0% wide)\n" in as_text(report)


def test_no_round_starts_past_the_budget() -> None:
    """The first round always runs; a next one only if it is likely to end in time."""
    contender = from_figures("a", [1.0, 2.0, 3.0])
    report = run(race(contender), Plan(rounds=3, seconds=1, budget=7), ticking(1.0))
    assert report.rounds == 1
    assert report.results[0].figures.values == (1.0,)


def test_turns_are_shortened_to_fit_the_budget() -> None:
    """A round of each contender and half a one to warm up fit, with something to spare."""
    plan = Plan(rounds=5, seconds=2.0, budget=55.0)
    assert plan.fitted(4, plan.budget) == plan
    fitted = plan.fitted(8, plan.budget)
    assert fitted.rounds == 5
    assert 8 * (fitted.warm_up + 5 * fitted.seconds) == pytest.approx(50.0)
    assert plan.fitted(8, 44.0, 0.0).seconds == pytest.approx(1.0)
    assert plan.fitted(8, 44.0, 0.25).seconds == pytest.approx(0.75)


def test_rounds_are_left_out_before_turns_get_too_short() -> None:
    """In the end one round is left, whatever the budget."""
    plan = Plan(rounds=5, seconds=2.0)
    fitted = plan.fitted(8, 10.0)
    assert fitted.rounds == 2
    assert 0.4 <= fitted.seconds < 0.5
    assert plan.fitted(1000, 10.0) == Plan(rounds=1, seconds=0.1)
    assert plan.fitted(1, -1.0) == Plan(rounds=1, seconds=0.1)
    short = Plan(rounds=3, seconds=0.2)
    assert short.fitted(1, 10.0) == short


def test_a_part_is_known_by_its_figure() -> None:
    """The name of a figure tells whose CPU time it is; other figures are nobody's."""
    assert cpu_part(cpu_figure("worker", "request"), "request") == "worker"
    assert cpu_part("p99 us", "request") is None
    assert cpu_part("p99 us", "") is None


def test_cpu_time_of_a_process_is_seen() -> None:
    """What this process burns is in the report, as a share of the time that passed."""
    own = int(Path("/proc/self").readlink().name)

    def burn(_seconds: float) -> float:
        before = _machine.cpu_seconds([own])
        while _machine.cpu_seconds([own]) < before + 0.05:
            pass
        return 1.0

    busy = Race("race", "ids/s", [Contender("burn", burn)], (), {"me": [own]})
    [result] = run(busy, PLAN).results
    assert result.cpu["me"] > 0
    assert set(result.cpu) == {"me", OTHERS}


def test_a_process_that_ended_used_nothing() -> None:
    """A worker that is gone does not end a benchmark."""
    assert _machine.cpu_seconds([2**22 + 1]) == 0


def test_a_report_as_json() -> None:
    """Programs get every round's figure and every bar."""
    bars = (Bar("a", ("b",), 2),)
    contenders = (from_figures("a", [6, 6, 6]), from_figures("b", [2, 3, 4]))
    written = json.loads(json.dumps(as_json(run(race(*contenders, bars=bars), PLAN))))
    assert written["met"] is True
    assert written["contenders"][1]["figures"] == [2, 3, 4]
    assert written["bars"][0]["ratios"] == [3, 2, 1.5]
    assert written["bars"][0]["ratio"] == 2


def test_a_report_as_text() -> None:
    """People see which bar was missed."""
    bars = (Bar("a", ("b",), 4),)
    contenders = (from_figures("a", [6, 6, 6]), from_figures("b", [2, 3, 4]))
    text = as_text(run(race(*contenders, bars=bars), PLAN))
    assert "MISSED a / b: 2.00 (rounds 1.50 to 3.00, middle half 38% wide), bar >= 4" in text


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_benchmark_has_a_command_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each module runs by itself and says what it measures, without a server."""
    module = importlib.util.find_spec(module_of(name))
    assert module is not None
    assert module.origin is not None
    monkeypatch.setattr(sys, "argv", [module.origin, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(module.origin, run_name="__main__")
    if name not in PROOFS:
        shown = capsys.readouterr().out
        assert all(option in shown for option in ("--rounds", "--budget", "--json"))


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in HAVE_NO_PLAN])
def test_every_benchmark_is_bounded(name: str) -> None:
    """Each has a plan of its own that ends within minutes."""
    module = importlib.import_module(module_of(name))
    assert module.DEFAULT.budget <= 300


def test_arguments() -> None:
    """What is given replaces the benchmark's own plan; what is not, stays."""
    options = _command.parse("text", ["--rounds", "2", "--patience", "1.5"], PLAN)
    assert options.plan == Plan(rounds=2, seconds=1.0, budget=1000, patience=1.5)
    assert options.json is None


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--seconds", "-1"], ["--budget", "inf"], ["--patience", "x"]]
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A plan that cannot be kept is refused by name."""
    with pytest.raises(SystemExit):
        _command.parse("text", arguments, PLAN)
    assert arguments[0] in capsys.readouterr().err


def test_the_status_says_how_it_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for bars kept, 1 for a bar missed, 2 for a benchmark that could not run."""

    def command(report: Report) -> int:
        output = ["--json", str(tmp_path / "report.json")]
        return _command.main(lambda _plan: report, "text", PLAN, output)

    def fail(_plan: Plan) -> Report:
        raise BenchmarkError("redis-server is missing")

    assert command(run(race(from_figures("a", [1, 1, 1])), PLAN)) == 0
    bars = (Bar("a", ("b",), 2),)
    missed = run(race(from_figures("a", [1] * 3), from_figures("b", [1] * 3), bars=bars), PLAN)
    assert command(missed) == 1
    assert json.loads((tmp_path / "report.json").read_text())["met"] is False
    assert _command.main(fail, "text", PLAN, []) == 2
    assert "redis-server is missing" in capsys.readouterr().err
    output = tmp_path / "failed.json"
    assert _command.main(fail, "text", PLAN, ["--json", str(output)]) == 2
    assert json.loads(output.read_text()) == {"error": "redis-server is missing"}


def test_further_figures_of_a_turn() -> None:
    """What a turn measured besides its figure is shown, and a bar may be about it."""

    def measure(_seconds: float) -> Sample:
        return Sample(100.0, {"p99 us": next(latencies)})

    latencies = iter([0.0, 3.0, 4.0, 5.0])
    contenders = (
        Contender("ours", measure),
        Contender("peer", lambda _s: Sample(1, {"p99 us": 8})),
    )
    bar = Bar("ours", ("peer",), 0.5, at_least=False, of="p99 us")
    report = run(race(*contenders, bars=(bar,)), PLAN)
    assert report.results[0].more["p99 us"].values == (3, 4, 5)
    assert report.verdicts[0].ratios.values == (3 / 8, 4 / 8, 5 / 8)
    assert "met    ours / peer, p99 us: 0.50" in as_text(report)
    [written, _] = as_json(report)["contenders"]
    assert written["more"] == {"p99 us": {"median": 4, "figures": [3, 4, 5]}}


def test_cpu_time_for_each_request() -> None:
    """The CPU time of a part is told for each of what the rate counts; parts may differ."""
    own = int(Path("/proc/self").readlink().name)

    def burn(_seconds: float) -> float:
        before = _machine.cpu_seconds([own])
        while _machine.cpu_seconds([own]) < before + 0.05:
            pass
        return 1000.0

    contenders = (
        Contender("busy", burn, {"worker": [own]}),
        Contender("idle", lambda _seconds: 1000.0, {"worker": []}),
    )
    report = run(Race("race", "requests/s", contenders, (), cpu_per="request"), PLAN)
    busy, idle = (result.more[cpu_figure("worker", "request")] for result in report.results)
    assert (
        0 < busy.low <= 2 * 1e6 / 1000
    )  # ticks are coarse: a turn may seem to use more than it has
    assert idle.high == 0
