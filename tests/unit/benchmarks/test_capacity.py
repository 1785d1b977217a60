"""The arithmetic of benchmarks/report/capacity.py, on figures that are easy to check by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.turns import cpu_figure
from benchmarks.report import capacity
from benchmarks.report import sweeps as _sweeps
from benchmarks.report.needs import (
    BUSY,
    KINDS,
    PARTS,
    Cost,
    Measured,
    Setting,
    gathered_requests,
    leases,
    need,
    read,
    updates_per_second,
)
from benchmarks.report.points import point
from idalloc_schemas import MAX_ID

MEASURED = Measured(
    single=Cost(40, 20, 50, 0),
    single_rate=15_000,
    batch=Cost(40, 25, 60, 0),
    batch_rate=12_000,
    gathered=Cost(800, 100, 200, 0),
    gathered_rate=1_000,
    calls_per_request=300,
    refill=Cost(0, 500, 150, 200),
    lease_rate=5_000,
    queue_share=0.25,
    tag_bytes=5_000,
)
SETTING = Setting(tags=100, step=10_000, callers=20)
SINGLE, GATHERED, BATCHES, SEQUENCES = KINDS


def contender(name: str, median: float, cpu: float, **more: float) -> dict[str, Any]:
    """Make a contender, as JSON has it, whose parts all use as much."""
    figures = {cpu_figure(part, _sweeps.PER): cpu for part in PARTS} | more
    return {
        "name": name,
        "median": median,
        "more": {key: {"median": value} for key, value in figures.items()},
    }


REPORT = {
    "contenders": [
        contender(point(_sweeps.PLAIN_SERIES, 100), 15_000, 20),
        contender(point(_sweeps.COUNT_SERIES, 100), 12_000, 25),
        contender(point(_sweeps.COUNT_SERIES, 1_000_000), 5_000, 90),
        contender(point(_sweeps.CLIENT_SERIES, 1_000), 300_000, 2, **{"calls/request": 300}),
        contender(point(_sweeps.REFILL_SERIES, 100), 1_000, 425, **{"refills/s": 800}),
        contender(_sweeps.QUEUE_SHARE, 0.25, 0),
        contender(_sweeps.TAG_MEMORY, 5_000, 0),
    ]
}


def test_reading_a_report() -> None:
    """A request that gathers costs what its calls do; a refill what its request does not."""
    measured = read(REPORT)
    assert measured.single == Cost(20, 20, 20, 20)
    assert measured.gathered == Cost(600, 600, 600, 600)
    assert measured.gathered_rate == 1_000
    assert measured.refill == Cost(500, 500, 500, 500)  # (425 - 25) for 0.8 of a refill
    assert measured.queue_limit == 1e6 / (20 * 0.25)


def test_a_report_without_a_sweep() -> None:
    """What is missing is named."""
    with pytest.raises(BenchmarkError, match="plain pika"):
        read({"contenders": REPORT["contenders"][1:]})


def test_a_cost_is_never_below_nothing() -> None:
    """CPU time is told in hundredths of a second: a difference may come out below 0."""
    assert Cost(1, 1, 1, 1).without(Cost(2, 0, 0, 0)) == Cost(0, 1, 1, 1)


def test_a_segment_lasts_for_half_the_cover() -> None:
    """100 tags at 100 ids/s: 30,000 ids each, and 100 segments in 300 seconds."""
    assert updates_per_second(10_000, 1, SETTING) == pytest.approx(100 / 300)


def test_a_segment_is_a_step_at_least() -> None:
    """At 1 id/s a segment of 10,000 lasts for more than the cover."""
    assert updates_per_second(100, 1, SETTING) == pytest.approx(100 / 10_000)


def test_a_segment_has_a_cap() -> None:
    """Far above what 300 seconds would hold, each segment is ten million ids."""
    assert updates_per_second(1e8, 1, replace(SETTING, tags=1)) == pytest.approx(10)


def test_processes_have_segments_of_their_own() -> None:
    """Four processes that share a load write four times as often, each a quarter."""
    one, four = (updates_per_second(1e6, processes, SETTING) for processes in (1, 4))
    assert four == pytest.approx(4 * one)


def test_single_requests() -> None:
    """30,000 of them: 0.6 cores of worker; of a queue that is full at 80,000 less than one."""
    found = need(30_000, SINGLE, MEASURED, SETTING)
    assert found.requests == 30_000
    assert found.messages == 60_000
    assert found.worker_cores == pytest.approx(0.6, rel=0.01)
    assert found.worker_processes == 1
    assert found.broker_cores == pytest.approx(1.5, rel=0.01)
    assert found.queues == 1
    assert not found.measured
    assert need(15_000, SINGLE, MEASURED, SETTING).measured


def test_processes_and_queues_keep_a_reserve() -> None:
    """No process is planned to be busier than the limit, and no queue."""
    found = need(1e6, SINGLE, MEASURED, SETTING)
    assert found.worker_cores <= found.worker_processes * BUSY
    assert found.worker_cores > (found.worker_processes - 1) * BUSY
    assert found.queues == 18  # 1,000,000 / (80,000 * 0.7)


def test_few_calls_do_not_gather() -> None:
    """Where calls do not meet, each is a request; where they do, clients are the limit."""
    assert gathered_requests(5_000, MEASURED, SETTING) == 5_000
    assert gathered_requests(1e6, MEASURED, SETTING) == 20_000
    assert gathered_requests(30e6, MEASURED, SETTING) == 100_000  # of 100 clients


def test_what_was_measured_of_gathering() -> None:
    """One client process was: neither more requests than it makes, nor more ids."""
    assert need(1_000, GATHERED, MEASURED, SETTING).measured
    assert not need(10_000, GATHERED, MEASURED, SETTING).measured


def test_leases() -> None:
    """One in ten seconds for each process, but of a hundred ids at least and a million at most."""
    assert leases(100_000, MEASURED, SETTING) == 2
    assert leases(10e6, MEASURED, SETTING) == 10
    assert leases(20, MEASURED, SETTING) == pytest.approx(0.2)


def test_batches() -> None:
    """A request for each hundred ids."""
    assert need(10_000, BATCHES, MEASURED, SETTING).requests == 100


def test_the_space_of_a_year() -> None:
    """Ten million ids a second leave the space of one tag for tens of thousands of years."""
    found = need(1e7, SEQUENCES, MEASURED, SETTING)
    assert found.space_per_year == pytest.approx(1e7 * 31_557_600 / MAX_ID)
    assert found.space_per_year < 1e-4


def test_the_table() -> None:
    """A line for each load and kind, each of which says whether it was measured."""
    lines = capacity.table(MEASURED, SETTING).splitlines()
    rows = [line for line in lines if line.endswith(("| measured |", "| extrapolated |"))]
    assert len(rows) == len(capacity.LOADS) * len(KINDS)
    assert len({line.count("|") for line in rows}) == 1
    assert "80,000 requests a second" in "\n".join(lines)


def test_the_page_is_written_anew(tmp_path: Path) -> None:
    """Only what stands between the marks changes, and a second time nothing does."""
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    results.write_text(json.dumps(REPORT))
    page.write_text("# Title\n\n<!-- capacity: begin -->\nold\n<!-- capacity: end -->\n\nEnd.\n")
    assert capacity.main([str(results), str(page)]) == 0
    once = page.read_text()
    assert once.startswith("# Title\n\n<!-- capacity: begin -->\n")
    assert once.endswith("<!-- capacity: end -->\n\nEnd.\n")
    assert "old" not in once
    assert capacity.main([str(results), str(page)]) == 0
    assert page.read_text() == once


def test_a_page_without_marks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is left as it is, and the marks are named."""
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    results.write_text(json.dumps(REPORT))
    page.write_text("# Title\n")
    assert capacity.main([str(results), str(page)]) == 2
    assert page.read_text() == "# Title\n"
    assert "capacity: begin" in capsys.readouterr().err
