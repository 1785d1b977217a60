"""Whether a machine was quiet: the threshold, who others are, and where the warning stands."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.harness import machine as _machine
from benchmarks.harness import quiet as _quiet
from benchmarks.harness.quiet import Quiet, load_warning
from benchmarks.harness.runner import Bar, Plan, Race, Report, Spread, run
from benchmarks.harness.turns import OTHERS, Contender
from benchmarks.report import table
from benchmarks.report.document import Document
from benchmarks.report.texts import as_json, as_text, verdict_line

PLAN = Plan(rounds=4, seconds=0.1)
ALONE = Quiet((0.0, 0.05, -0.03, 0.02), cpus=2)
BESIDE = Quiet((1.0, 0.98, 1.02, 0.97), cpus=2, waits=3)
BAR = Bar("ours", ("floor",), 0.5, quiet_limit=0.65)


def measured(quiet: Quiet, *, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Run a race of 0.6 to 1, beside which others did what is said."""
    monkeypatch.setattr("benchmarks.harness.runner.Quiet", lambda _others, *, waits: quiet)
    contenders = [Contender("ours", lambda _s: 0.6), Contender("floor", lambda _s: 1.0)]
    return run(Race("A race", "ids/s", contenders, (BAR,)), PLAN)


@pytest.mark.parametrize(
    ("others", "warned"),
    [
        ((), ""),
        ((0.0,) * 8, ""),
        ((0.1,) * 8, ""),  # a twentieth of two CPUs
        ((0.11,) * 8, "WARNING"),
        ((0.0,) * 6 + (2.0,) * 2, ""),  # medians are still those of quiet turns
        ((0.0,) * 5 + (2.0,) * 3, "WARNING"),
        ((-0.1,) * 8, ""),  # ticks are coarse
    ],
)
def test_the_threshold(others: tuple[float, ...], warned: str) -> None:
    """A twentieth of the machine's CPUs in a turn, and a quarter of the turns."""
    assert Quiet(others, cpus=2).warning[:7] == warned
    assert Quiet(tuple(8 * used for used in others), cpus=16).warning[:7] == warned


def test_the_warning_says_what_was_seen() -> None:
    """How much others used, in how many turns, and how often they were waited for."""
    assert not ALONE.warning
    assert str(ALONE) == "others used 0.01 of 2 CPUs (at most 0.05; 0 of 4 turns above 0.1)"
    assert BESIDE.warning == (
        "WARNING: not a quiet machine: others used 0.99 of 2 CPUs "
        "(at most 1.02; 4 of 4 turns above 0.1, waited for them 3 times)"
    )


@pytest.mark.parametrize(
    ("load", "said"), [("1.0", ""), ("1.1", "load 1.1 on 2 CPUs before anything started")]
)
def test_the_load_at_the_start(load: str, said: str) -> None:
    """Half a process for each CPU is none worth a word; a run that does not tell has none."""
    assert load_warning({"load": load, "cpus": "2"}).endswith(said)
    assert not load_warning({})


def test_what_a_host_took_is_work() -> None:
    """Whoever measures in a virtual machine cannot see for whom; waiting for a disk is none."""
    line = "cpu  100 20 30 4000 500 6 7 80 90 0"  # the last two are in the first two
    assert _machine._busy_ticks(line) == 100 + 20 + 30 + 6 + 7 + 80


def test_what_this_process_and_its_children_use_is_not_others() -> None:
    """Although no race has to name them: others are those that take part in nothing."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"

    def turn(_seconds: float) -> float:
        subprocess.run([sys.executable, "-c", burn], check=True)
        return 1.0

    report = run(Race("r", "ids/s", [Contender("a", turn)], ()), Plan(rounds=1, seconds=0.1))
    assert set(report.results[0].cpu) == {OTHERS}
    # The machine may be as busy as it likes: what is charged to others is all but this.
    assert _all_but_ours(lambda: turn(0.1)) >= 0.3 - 0.05  # ticks are coarse


def test_what_a_benchmark_started_is_not_others() -> None:
    """Workers that no race lists, for one, while they run."""
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ninput()"
    command = [sys.executable, "-c", burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert _all_but_ours(process.stdout.readline) >= 0.25
        process.communicate(b"\n")


def _all_but_ours(work: Callable[[], object]) -> float:
    """Tell by how much less `others` rises than the machine's busy seconds."""
    from benchmarks.harness.turns import _used  # noqa: PLC0415  # what is measured in a turn

    before = _machine.busy_seconds(), _used({})[OTHERS]
    work()
    after = _used({})[OTHERS], _machine.busy_seconds()
    return (after[1] - before[0]) - (after[0] - before[1])


def test_the_bar_that_applies_depends_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says which it is; 0.6 is enough beside other work only."""
    quiet = measured(ALONE, monkeypatch=monkeypatch)
    assert not quiet.met
    assert verdict_line(quiet.verdicts[0]).endswith("bar >= 0.65 on a quiet machine")
    busy = measured(BESIDE, monkeypatch=monkeypatch)
    assert busy.met
    assert verdict_line(busy.verdicts[0]).endswith("bar >= 0.5 beside other work")


def test_a_contended_run_is_seen_by_whoever_reads_one_thing_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The terminal, the document's summary, and results.md: at the top and at the race."""
    report = measured(BESIDE, monkeypatch=monkeypatch)
    assert BESIDE.warning in as_text(report)
    found = Document({"load": "7.0", "cpus": "2"}, {"one": as_json(report)})
    load = load_warning(found.environment)
    assert found.summary().splitlines()[-2:] == [load, f"{'one':<16} {BESIDE.warning}"]
    page = table.as_markdown(found)
    top, _, race = page.partition("## A race")
    assert f"**{load}**" in top
    assert BESIDE.warning in top
    assert f"**{BESIDE.warning}**" in race
    assert "≥ 0.5 beside other work | kept" in race


def test_a_quiet_run_has_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how quiet; results from before this was measured say nothing."""
    written = as_json(measured(ALONE, monkeypatch=monkeypatch))
    found = Document({"load": "0.1", "cpus": "2"}, {"one": written})
    assert not found.warnings
    page = table.as_markdown(found)
    assert f"Quiet: {ALONE}." in page
    assert "WARNING" not in page
    assert Quiet.read(written) == ALONE
    old: dict[str, Any] = {name: value for name, value in written.items() if name != "quiet"}
    assert not Document({}, {"one": old}).warnings
    assert "Quiet:" not in table.as_markdown(Document({}, {"one": old}))


def test_how_far_apart_rounds_lie() -> None:
    """The middle half of them, as a part of the median: one odd round does not widen it."""
    assert Spread((1.0, 1.0, 1.0, 1.0, 9.0)).width == 0
    assert Spread((0.8, 0.9, 1.0, 1.1, 1.2)).width == pytest.approx(0.2)
    assert Spread((5.0,)).width == 0


def test_waiting_for_others_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """How often it was done; nobody waits who has no patience."""
    busy = iter([0.0, 1.0, 1.0, 1.0])  # a look in which others work, then one in which none do
    monkeypatch.setattr(_quiet, "busy_seconds", lambda: next(busy))
    monkeypatch.setattr(_quiet, "_LISTEN", 0.001)
    assert _quiet.wait_for_quiet(60)
    assert not _quiet.wait_for_quiet(0)
    monkeypatch.setattr(_quiet, "busy_seconds", lambda: 1.0)
    assert not _quiet.wait_for_quiet(60)
