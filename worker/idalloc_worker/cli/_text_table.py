"""Writes rows as a table of plain text, its columns lined up, and times as short as can be."""

from collections.abc import Collection, Sequence
from typing import Final

_DAY: Final = 86_400


def lined_up(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    """Write a line for each row; the columns of `right` hold numbers and end in one place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def duration(seconds: float | None) -> str:
    """Write seconds in one or two units, as short as can be."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole >= _DAY:
        return f"{whole // _DAY}d" if whole < 1000 * _DAY else ">999d"
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 60}m{whole % 60:02}s" if whole >= 60 else f"{whole}s"
