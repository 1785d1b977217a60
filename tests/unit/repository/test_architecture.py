"""The page that says how the code is laid out says it of the code that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/architecture.md").read_text()
PACKAGES = {"worker": ROOT / "worker/idalloc_worker", "client": ROOT / "client/idalloc_client"}
PLACES = (ROOT, ROOT / "docs", *PACKAGES.values())
ROW = re.compile(r"^\| `(\w+)/` \| (.+) \|$", re.MULTILINE)
PATH = re.compile(r"`([\w./]+/[\w./]*)`")
LINK = re.compile(r"\]\(([\w./]+\.md)\)")


def rooms(package: str) -> set[str]:
    return {face.parent.name for face in PACKAGES[package].glob("*/__init__.py")}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_in_its_table(package: str) -> None:
    """And no row is about a room that is not there."""
    section = PAGE.partition(f"The {package}, top floor first:")[2].partition("\nThe ")[0]
    told = [name for name, _ in ROW.findall(section.partition("\n## ")[0])]
    assert sorted(told) == sorted(rooms(package))


def test_every_path_leads_somewhere() -> None:
    """From the top of the repository, from `docs`, or from a package."""
    named = {*PATH.findall(PAGE), *LINK.findall(PAGE)}
    assert len(named) > 20
    assert not [path for path in sorted(named) if not any((at / path).exists() for at in PLACES)]


def test_every_word_is_explained_once() -> None:
    """A glossary with two answers has none."""
    rows = re.findall(r"^\| ([^|`]+) \| [^|]+ \|$", PAGE.partition("## Words")[2], re.MULTILINE)
    words = [word.strip() for row in rows for word in row.split(",") if "---" not in row]
    assert len(words) > 20
    assert len(set(words)) == len(words)
