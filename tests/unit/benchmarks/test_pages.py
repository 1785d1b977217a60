"""What pages claim of performance: it is what the results say, and nobody typed it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.quiet import Quiet
from benchmarks.harness.runner import BenchmarkError
from benchmarks.report import claims, headlines, pages, table
from benchmarks.report import document as _document
from benchmarks.report.claims import MISSING, claim, fill, typed
from benchmarks.report.document import Document

PAGES = pages.pages()
ABOUT_SPEED = {"performance.md", "capacity.md"}
RESULTS = pages.results()


def name_of(path: Path) -> str:
    return str(path.relative_to(pages.ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_says_what_the_results_say(page: Path) -> None:
    """Every figure of it; `python -m benchmarks.report.pages` writes them anew."""
    assert page.read_text("utf-8") == pages.filled(page, RESULTS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_figure_of_speed_is_typed(page: Path) -> None:
    """It stands between marks that say where it is in the results, or by what else it was found."""
    found = typed(page.read_text("utf-8"), times=page.name in ABOUT_SPEED)
    assert list(found) == [], "put it between marks, see benchmarks/report/claims.py"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_claims_what_is_measured(page: Path) -> None:
    """A key with a slip of the pen names nothing; results from before this are spared."""
    [first, *_] = RESULTS.values()
    for key in claims.keys(page.read_text("utf-8")):
        if "quiet" in first.races.get(key.partition("; ")[0], {}):
            assert claim(key, first) != MISSING, key


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_mark_begins_a_line(page: Path) -> None:
    """What follows a comment at the beginning of a line is HTML to Markdown, and no paragraph."""
    assert not re.findall(r"^ *<!--=.*", page.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", RESULTS)
def test_tables_are_those_of_the_results(name: str) -> None:
    """Nobody writes into results.md."""
    page = pages.ROOT / "docs" / pages.FOLDERS[name] / "results.md"
    depth = "../" * (1 + pages.FOLDERS[name].count("/"))
    assert page.read_text() == table.as_markdown(RESULTS[name], f"{depth}performance.md")


def contender(name: str, *figures: float, **more: list[float]) -> dict[str, Any]:
    return {
        "name": name,
        "median": sorted(figures)[len(figures) // 2],
        "figures": list(figures),
        "more": {
            key.replace("_", " "): {"figures": values, "median": values[1]}
            for key, values in more.items()
        },
    }


def document(**environment: str) -> Document:
    """Make results of one race, whose bar is missed."""
    bar = {"subject": "AsyncIdClient", "peer": "floor", "of": "", "limit": 0.9, "at_least": True}
    race = {
        "title": "Tasks",
        "unit": "ids/s",
        "rounds": 3,
        "cpu_per": "id",
        "met": False,
        "contenders": [
            contender("AsyncIdClient", 300_000, 312_887, 400_000, p99_us=[5.0, 6.0, 7.0]),
            contender("floor", 600_000, 600_000, 600_000, p99_us=[4.0, 4.0, 4.0]),
        ],
        "bars": [{**bar, "ratio": 0.52, "ratios": [0.5, 0.52, 0.67], "met": False}],
    }
    return Document({"cpu": "AMD EPYC", "cpus": "2", **environment}, {"async_singles": race})


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("async_singles; AsyncIdClient", "313,000"),
        ("async_singles; AsyncIdClient; range", "300,000 to 400,000"),
        ("async_singles; AsyncIdClient; p99 us", "6"),
        ("async_singles; AsyncIdClient / floor", "0.52"),
        ("async_singles; AsyncIdClient / floor; range", "0.50 to 0.67"),
        ("async_singles; AsyncIdClient / floor; p99 us", "1.50"),
        ("environment; cpu", "AMD EPYC"),
        ("async_singles; nobody", MISSING),
        ("async_singles; AsyncIdClient / nobody", MISSING),
        ("async_singles; AsyncIdClient; client CPU us/id", MISSING),
        ("no_such_race; AsyncIdClient", MISSING),
    ],
)
def test_a_key_names_a_figure(key: str, told: str) -> None:
    """Ratios are those of each round; what an older run did not measure is said to be missing."""
    assert claim(key, document()) == told


def test_a_figure_follows_the_results() -> None:
    """Only what stands between its marks changes, and a second time nothing does."""
    page = "It gives <!--= async_singles; AsyncIdClient -->1<!--=--> ids/s.\n"
    once = fill(page, document())
    assert once == page.replace(">1<", ">313,000<")
    assert fill(once, document()) == once
    by_hand = "It takes <!--= by hand; timeit -->20 µs<!--=-->."
    assert fill(by_hand, document()) == by_hand


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It gives 312,887 ids/s.", ["312,887 ids/s"]),
        ("It takes 20 µs and 3 us.", ["20 µs", "3 us"]),
        ("some 400\nrequests a second", ["400 requests a second"]),
        ("<!--= by hand; x -->400 calls/s<!--=--> and 500 calls/s", ["500 calls/s"]),
        ("```sh\nrate 5 ids/s\n```\n| 5 ids/s |\n", []),
        ("<!-- runs: begin -->\n5 ids/s\n<!-- runs: end -->\n6 ids/s", ["6 ids/s"]),
        ("a timeout of 5 ms, 3 times, 0.5 of it", []),
    ],
)
def test_typed_figures_are_found(text: str, found: list[str]) -> None:
    """Outside of marks, code, tables and what is written as a whole."""
    assert list(typed(text, times=False)) == found


def test_more_is_found_where_a_page_is_about_speed() -> None:
    """Times and ratios, which elsewhere are settings; versions are neither."""
    text = "4.8 times, 0.53 of it, 7 ms, RabbitMQ 3.10.8"
    assert list(typed(text, times=True)) == ["4.8 times", "0.53", "7 ms"]


def test_the_table_of_the_readme() -> None:
    """Absolute figures, with what they were measured on; others' figures are left out."""
    text = headlines.readme(document(rabbitmq="4.3.0", erlang="27", database="MySQL 9.7.0"))
    assert "2 CPUs (AMD EPYC), RabbitMQ 4.3.0 on Erlang 27, MySQL 9.7.0" in text
    lines = [line for line in text.splitlines() if "313,000 ids/s" in line]
    assert any(line.endswith("| 0.52 |") for line in lines)
    assert "requests/s" not in text


def test_runs_stand_side_by_side() -> None:
    """A column for each, with its servers, its spread, what came of the bar, and its warnings."""
    busy = document(rabbitmq="4.3.0", load="9")
    sets = {"Debian's": document(rabbitmq="3.10.8"), "newest": busy}
    text = headlines.side_by_side(sets, {"Debian's": "a.md", "newest": "b/c.md"})
    assert "| what | beside | ratio of | [Debian's](a.md) | [newest](b/c.md) |" in text
    assert text.count("0.52 (0.50 to 0.67), ≥ 0.9 **missed**") == 2
    assert "- newest: 2 CPUs (AMD EPYC), RabbitMQ 4.3.0" in text
    assert "**newest: the machine was not quiet, see the results.**" in text
    assert "**Debian's" not in text


def checkout(root: Path) -> Path:
    """Make a checkout of which only the pages matter."""
    (root / "docs").mkdir()
    (root / "README.md").write_text("<!-- headlines: begin -->\n<!-- headlines: end -->\n")
    (root / "CONTRIBUTING.md").write_text("Nothing.\n")
    page = root / "docs/performance.md"
    page.write_text(
        "<!-- runs: begin -->\n<!-- runs: end -->\n<!--= environment; cpu -->?<!--=-->\n"
    )
    return page


def test_one_command_fills_all_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names those that it changed; a second set of results becomes a column."""
    page = checkout(tmp_path)
    assert pages.main(tmp_path) == 2
    assert "results.json" in capsys.readouterr().err
    _document.save(document(), tmp_path / "docs/performance/results.json")
    assert pages.main(tmp_path) == 0
    assert capsys.readouterr().out.split() == ["README.md", "docs/performance.md"]
    assert "AMD EPYC<!--=-->" in page.read_text()
    assert "performance/newest/results.md" not in page.read_text()
    assert pages.main(tmp_path) == 0
    assert capsys.readouterr().out == ""
    _document.save(document(cpu="newer"), tmp_path / "docs/performance/newest/results.json")
    assert pages.main(tmp_path) == 0
    assert "[the newest servers](performance/newest/results.md)" in page.read_text()
    assert "AMD EPYC<!--=-->" in page.read_text()


def test_tables_link_to_the_page_from_wherever_they_are(tmp_path: Path) -> None:
    """A second set of results lies deeper; a table outside of docs has no page above it."""
    found = document()
    table.save(found, tmp_path / "results.md")
    assert "(performance.md)" in (tmp_path / "results.md").read_text()
    assert claims.MISSING not in (tmp_path / "results.md").read_text()


def test_results_begin_with_what_they_are_of() -> None:
    """Versions, durability, machine; and each race names its servers and how quiet it was."""
    told = {"rabbitmq": "4.3.0", "erlang": "27", "database": "MySQL 9.7.0", "durability": "flush=1"}
    found = document(**told)
    race = {
        **found.races["async_singles"],
        "quiet": Quiet((0.0,), 2).as_json(),
        "notes": ["Redis 7"],
    }
    page = table.as_markdown(Document(found.environment, {"async_singles": race}))
    first = page.index("| rabbitmq | 4.3.0 |"), page.index("| durability | flush=1 |")
    assert max(first) < page.index("## Tasks")
    of_race = page.partition("## Tasks")[2]
    assert "RabbitMQ 4.3.0, Erlang 27, MySQL 9.7.0, flush=1" in of_race
    assert "Quiet: others used 0.00 of 2 CPUs" in of_race
    assert "Redis 7" in of_race
    assert json.loads(json.dumps(race))["quiet"]["others"] == [0.0]


def test_without_results() -> None:
    """A checkout without any says which file is missing."""
    with pytest.raises(BenchmarkError, match=r"results\.json"):
        pages.results(Path("/nowhere"))
