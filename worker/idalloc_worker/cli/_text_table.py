"""Writes rows as a table of plain text, its columns lined up."""

from collections.abc import Collection, Sequence


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
