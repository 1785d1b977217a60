"""A terminal that is drawn anew again and again, and read key by key."""

import os
import shutil
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from idalloc_worker.cli._top_text import Line

# The control sequences of ECMA-48, and of xterm for its second screen.
_ENTER = "\x1b[?1049h\x1b[?25l"  # the second screen, with no cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _END_LINE, _END_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


class Screen:
    """Writes to one descriptor and reads from another; both are terminals."""

    def __init__(self, keys: int, output: int) -> None:
        self.keys = keys
        self._output = output
        self._coloured = not os.environ.get("NO_COLOR")  # no-color.org

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the terminal, and leave it as it was."""
        before = termios.tcgetattr(self.keys)
        tty.setcbreak(self.keys)
        try:
            self._write(_ENTER)
            yield
        finally:
            with suppress(OSError, termios.error):  # it was closed
                termios.tcsetattr(self.keys, termios.TCSADRAIN, before)
                self._write(_LEAVE)

    def size(self) -> os.terminal_size:
        """Tell how many columns and rows there are now."""
        try:
            size = os.get_terminal_size(self._output)
        except OSError:
            size = os.terminal_size((0, 0))
        return size if size.columns and size.lines else shutil.get_terminal_size()

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines and nothing else."""
        # Erased first: behind a line that is full the cursor still stands on its last character.
        shown = "\r\n".join(f"{_END_LINE}{self._dressed(line)}" for line in lines)
        self._write(f"{_HOME}{shown}{_END_SCREEN}")

    def read_keys(self) -> bytes:
        """Take what was typed; empty if the terminal is gone."""
        try:
            return os.read(self.keys, 1024)
        except OSError:
            return b""

    def _dressed(self, line: Line) -> str:
        return f"{_RED}{line.text}{_PLAIN}" if line.alarm and self._coloured else line.text

    def _write(self, text: str) -> None:
        rest = text.encode(errors="replace")
        while rest:
            rest = rest[os.write(self._output, rest) :]
