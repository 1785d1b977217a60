"""Writes what pages say of performance anew, from the results: `python -m benchmarks.report.pages`.

Tables between marks, and each figure that `benchmarks.report.claims` knows. A second set of results
in docs/performance/newest, of other servers, stands beside the first one.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.runner import BenchmarkError
from benchmarks.report import capacity, claims, headlines
from benchmarks.report import document as _document
from benchmarks.report.document import Document
from benchmarks.report.needs import Setting, read
from benchmarks.report.points import scaling_report

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"Debian's servers": "performance", "the newest servers": "performance/newest"}
"""Of the sets of results, below docs; the first one is that of all pages."""


def pages(root: Path = ROOT) -> list[Path]:
    """List the pages that may claim something; those that a run writes are left out."""
    written = root / "docs/performance"
    found = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    return [page for page in found if not page.is_relative_to(written)]


def results(root: Path = ROOT) -> dict[str, Document]:
    """Read all sets that there are; raises BenchmarkError without the first one."""
    files = {name: root / "docs" / folder / "results.json" for name, folder in FOLDERS.items()}
    first, *others = files
    there = [first, *(name for name in others if files[name].exists())]
    return {name: _document.load(files[name]) for name in there}


def filled(page: Path, found: Mapping[str, Document]) -> str:
    """Return the page as the results have it."""
    first = next(iter(found.values()))
    text = claims.fill(page.read_text("utf-8"), first)
    for name, table in blocks(found).items():
        if f"<!-- {name}: begin -->" in text:
            text = capacity.write_into(text, table, name)
    return text


def blocks(found: Mapping[str, Document]) -> dict[str, str]:
    """Write all tables that a page may have."""
    first = next(iter(found.values()))
    targets = {name: f"{folder}/results.md" for name, folder in FOLDERS.items()}
    tables = {
        "headlines": headlines.readme(first),
        "runs": headlines.side_by_side(found, targets),
    }
    if "scaling" in first.races:
        tables["capacity"] = capacity.table(read(scaling_report(first.as_json())), Setting())
    return tables


def main(root: Path = ROOT) -> int:
    """Return 0, or 2 if there are no results."""
    try:
        found = results(root)
        texts = {page: filled(page, found) for page in pages(root)}
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2
    for page, text in texts.items():
        if text != page.read_text("utf-8"):
            page.write_text(text, "utf-8")
            print(page.relative_to(root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
