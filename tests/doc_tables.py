"""Reads the tables of the documentation, to compare them with what the code says."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")


def rows(page: str, head: str) -> list[list[str]]:
    """Give the cells of all tables of a page whose first row begins with `head`."""
    found: list[list[str]] = []
    within = False
    for line in (ROOT / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" |")]
        within = line.startswith("|") and (within or cells[0] == head)
        if within and cells[0] not in {head, "---"}:
            found.append(cells)
    return found


def plain(cell: str) -> str:
    """Write a cell without its links and marks of code."""
    return _LINK.sub(r"\1", cell).replace("`", "")


def says(cell: str, sentence: str) -> bool:
    """Whether a cell begins with what a sentence says; it may say more."""
    begin = sentence.removesuffix(".")
    return plain(cell).casefold().startswith(begin.replace("`", "").casefold())
