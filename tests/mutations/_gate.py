"""Breaks rules in copies of the tree, and sees whether the tests notice."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutations._rule import ROOT, SIMULATION, Rule

_LEFT_OUT: Final = (".git", ".venv", "dist", "build", "*cache*", "__pycache__", ".hypothesis")
_PACKAGES: Final = ("schemas", "client", "worker", ".")
WIDER: Final = (SIMULATION, "tests/unit")
"""Where to look if those that are named notice nothing."""
_LIMIT: Final = 300.0
"""Seconds for one look. One that takes longer has noticed nothing: the machine may be busy."""
_LIST_OF_RULES: Final = "tests/unit/repository/test_mutations.py"
"""It fails whatever is broken, since it looks for the lines themselves."""
_NOTHING_RAN: Final = (4, 5)
"""What pytest returns if there is no such file or no such test."""


_SOUND: Final = set[str]()
"""Looks that were seen to pass where nothing is broken."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule that is broken is noticed, by what, and how many seconds that took."""

    rule: Rule
    noticed_by: str | None
    seconds: float


class Tree:
    """A copy of the project in which rules are broken, one at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamps = count(1)
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*_LEFT_OUT))

    def judge(self, rule: Rule, wider: Sequence[str] = WIDER) -> Verdict:
        """Break a rule, look who notices, and mend it."""
        began = time.monotonic()
        path = self._root / rule.file
        whole, stamp = path.read_text(), path.stat().st_mtime
        rule.apply(self._root)
        # Python tells by a file's size and the second of its change whether it has it compiled.
        os.utime(path, (stamp, stamp + next(self._stamps)))
        try:
            looks = (*rule.noticed_by, *(look for look in wider if look not in rule.noticed_by))
            noticed_by = next((look for look in looks if self.notices(look)), None)
        finally:
            path.write_text(whole)
            os.utime(path, (stamp, stamp))
        if noticed_by is not None:
            self._check(noticed_by)
        return Verdict(rule, noticed_by, time.monotonic() - began)

    def _check(self, look: str) -> None:
        """Make sure, once for each, that tests pass where nothing is broken."""
        if look not in _SOUND:
            if self.notices(look):
                raise RuntimeError(f"{look} fails where no rule is broken")
            _SOUND.add(look)

    def notices(self, look: str) -> bool:
        """Run tests, and tell whether one failed."""
        try:
            status = self._run(look)
        except subprocess.TimeoutExpired:
            return False
        return status not in (0, *_NOTHING_RAN)

    def _run(self, look: str) -> int:
        folders = os.pathsep.join(str(self._root / package) for package in _PACKAGES)
        environment = {**os.environ, "PYTHONPATH": folders}
        return subprocess.run(
            [sys.executable, "-m", *_command(look)],
            cwd=self._root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_LIMIT,
        ).returncode


def _command(look: str) -> list[str]:
    if not look.startswith(SIMULATION):
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
        return ["pytest", *options, f"--ignore={_LIST_OF_RULES}", look]
    _, _, weather = look.partition(":")
    chosen = ["--weather", weather] if weather else []
    return ["tests.simulation", "--schedules", "1500", "--first", *chosen]


@contextmanager
def trees(number: int) -> "Iterator[SimpleQueue[Tree]]":
    """Make copies to work in."""
    with tempfile.TemporaryDirectory(prefix="idalloc-mutations-") as folder:
        free: SimpleQueue[Tree] = SimpleQueue()
        for each in range(number):
            free.put(Tree(Path(folder) / str(each)))
        yield free


def judge_all(
    rules: Sequence[Rule],
    processes: int,
    on_verdict: Callable[[Verdict], None],
    wider: Sequence[str] = WIDER,
) -> list[Verdict]:
    """Judge rules, some side by side; `wider` is where to look if none notices that is named."""
    with trees(processes) as free, ThreadPoolExecutor(processes) as pool:

        def judge(rule: Rule) -> Verdict:
            tree = free.get()
            try:
                verdict = tree.judge(rule, wider)
            finally:
                free.put(tree)
            on_verdict(verdict)
            return verdict

        return list(pool.map(judge, rules))
