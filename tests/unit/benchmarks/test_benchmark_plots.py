"""The plots of results: what is on them, and that the same results make the same files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.harness.runner import BenchmarkError
from benchmarks.harness.turns import cpu_figure
from benchmarks.report import document as _document
from benchmarks.report import plot_style as _plot_style
from benchmarks.report import plots
from benchmarks.report.document import Document

NAMES = ("ours", "echo & co", "floor")
SIZE = 40_000  # bytes


def contender(name: str, figures: list[float], cpu: Mapping[str, float]) -> dict[str, Any]:
    more = {
        cpu_figure(part, "request"): {"median": used, "figures": [used]}
        for part, used in cpu.items()
    }
    return {
        "name": name,
        "median": sorted(figures)[len(figures) // 2],
        "figures": figures,
        "cpu_seconds_per_second": {},
        "more": more,
    }


def report(*, times: float = 2.0, unit: str = "requests/s", cpu_per: str = "request") -> Any:
    cpu: tuple[dict[str, float], ...] = (
        {"client": 20.0, "worker": 30.0, "proxy": 1.0, "mysql": 0.0},
        {"client": 25.0},
        {},
    )
    figures = ([100.0, 110.0, 90.0], [50.0, 40.0, 60.0], [50.0 * times, 99.0, 51.0 * times])
    bar = {"subject": "ours", "of": "", "at_least": unit != "us"}
    return {
        "title": "A <race>",
        "unit": unit,
        "cpu_per": cpu_per,
        "contenders": [contender(*one) for one in zip(NAMES, figures, cpu, strict=True)],
        "bars": [bar],
    }


def texts(path: Path) -> set[str]:
    """Parse the SVG and give all its texts."""
    root = ET.fromstring(path.read_text())  # our own file
    return {text for element in root.iter() if (text := "".join(element.itertext()).strip())}


@pytest.mark.usefixtures("drawing")
def test_every_contender_is_named(tmp_path: Path) -> None:
    """With its median, as text, in well-formed XML."""
    [figures] = plots.save(Document({}, {"one": report()}), tmp_path)
    assert figures == tmp_path / "one.svg"
    assert {*NAMES, "A <race>", "100", "requests/s (more is better)"} <= texts(figures)
    assert "CPU microseconds per request, medians (less is better)" in texts(figures)
    assert figures.stat().st_size < SIZE


@pytest.mark.usefixtures("drawing")
def test_cpu_time_by_process(tmp_path: Path) -> None:
    """Parts that cost something are named, with the sum; contenders without figures are not."""
    [costs] = plots.save(Document({}, {"one": report(unit="")}), tmp_path)
    shown = texts(costs)
    assert {"ours", "echo & co", "client", "worker", "proxy", "51"} <= shown
    assert not {"floor", "mysql"} & shown
    assert "CPU microseconds per request, medians (less is better)" in shown


@pytest.mark.usefixtures("drawing")
def test_the_same_results_make_the_same_files(tmp_path: Path) -> None:
    """Byte for byte, and without a date."""
    one, two = (plots.save(Document({}, {"one": report()}), tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert "dc:date" not in one[0].read_text()


@pytest.mark.usefixtures("drawing")
def test_a_scale_that_shows_everything(tmp_path: Path) -> None:
    """Where medians are far apart it is logarithmic, and says so."""
    [path] = plots.save(Document({}, {"far": report(times=1e6)}), tmp_path)
    assert "requests/s (more is better, logarithmic scale)" in texts(path)
    assert plots.logarithmic([1, 100])
    assert not plots.logarithmic([10, 100])
    assert not plots.logarithmic([0, 100])


@pytest.mark.usefixtures("drawing")
def test_of_times_less_is_better(tmp_path: Path) -> None:
    """As the race's own bars say."""
    [path] = plots.save(Document({}, {"times": report(unit="us", cpu_per="")}), tmp_path)
    assert "us (less is better)" in texts(path)


def test_figures_of_several_kinds_share_no_axis(tmp_path: Path) -> None:
    """A race without a unit is not drawn."""
    assert plots.save(Document({}, {"mixed": report(unit="", cpu_per="")}), tmp_path) == []


@pytest.mark.usefixtures("drawing")
def test_plots_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the file of results; exit code 2 if there is none."""
    results, folder = tmp_path / "results.json", tmp_path / "plots"
    assert plots.main([str(results), str(folder)]) == 2
    assert "results.json" in capsys.readouterr().err
    _document.save(Document({}, {"one": report()}), results)
    assert plots.main([str(results), str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(folder / "one.svg"),
    ]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setattr(_plot_style, "_missing", "matplotlib")
    with pytest.raises(BenchmarkError, match=r"pip install 'idalloc\[bench\]'"):
        _plot_style.require()
