"""Tables of plain text."""

from idalloc_worker.cli._text_table import lined_up


def test_columns_are_lined_up() -> None:
    """Words begin in one place, numbers end in one, and no line ends with a space."""
    rows = [["TAG", "LEFT", "WHY"], ["order", "7", ""], ["a", "12,345", "late"]]
    assert lined_up(rows, (1,)) == [
        "TAG      LEFT  WHY",
        "order       7",
        "a      12,345  late",
    ]
