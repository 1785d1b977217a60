"""Reads the fenced blocks of a page of the documentation, with the reasons why some are not run."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
SHOWN = {"text", "json", "yaml", "mermaid"}
"""Languages of blocks in which nothing can be run."""
RUN = {"sh", "console", "python", "sql"}
"""Those that tests/integration/test_pages.py runs, but for what test_docs.py and others do."""

_BY_ITSELF = re.compile(r"^>>> |\A# \w+\.py$", re.MULTILINE)
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One block; `reason` says why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def by_itself(self) -> bool:
        """Whether it needs no servers: a doctest, or a file."""
        return self.language == "python" and _BY_ITSELF.search(self.text) is not None

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(page, line, found["language"], found["text"], found["reason"] or "")
