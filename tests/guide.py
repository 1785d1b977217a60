"""Reads a page of the documentation: its headings, and the SQL and commands below each."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIGRATING = Path(__file__).parents[1] / "docs/migrating.md"
"""Its blocks are roll-outs beside an old system: tests/integration/test_migrating.py plays them."""

_HEADING = re.compile(r"^#{2,4} (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s*(?:--|#) .*$", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """What stands between a heading and the next one."""

    heading: str
    text: str

    @property
    def statements(self) -> list[str]:
        """The SQL, one statement each, without comments."""
        joined = _COMMENT.sub("", "".join(self._blocks("sql")))
        return [text.strip() for text in joined.split(";") if text.strip()]

    def commands(self, **values: object) -> list[list[str]]:
        """Split the `idalloc` commands into arguments, with the value of NAME for `"$NAME"`."""
        text = _COMMENT.sub("", "".join(self._blocks("sh")))
        for name, value in values.items():
            text = text.replace(f'"${name}"', str(value))
        assert "$" not in text, f"no value for a variable: {text}"
        lines = [shlex.split(line) for line in text.splitlines() if line.strip()]
        assert all(line[0] == "idalloc" for line in lines), lines
        return [line[1:] for line in lines]

    def _blocks(self, language: str) -> list[str]:
        return [text for name, text in _BLOCK.findall(self.text) if name == language]


class Guide:
    """A page. Its headings must differ, so that each names one section."""

    def __init__(self, page: Path) -> None:
        parts = _HEADING.split(page.read_text("utf-8"))
        self._sections = dict(zip(parts[1::2], parts[2::2], strict=True))
        assert len(self._sections) == len(parts) // 2, "two headings are the same"

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __getitem__(self, heading: str) -> Section:
        return Section(heading, self._sections[heading])
