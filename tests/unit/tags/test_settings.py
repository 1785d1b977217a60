"""What a row says about its tag, and what a row may not say."""

import pytest

from idalloc_schemas import MAX_ID
from idalloc_worker.tags._errors import InvalidRowError
from idalloc_worker.tags._settings import COLUMNS, TagSettings

ALL_NULL = dict.fromkeys(COLUMNS)


@pytest.mark.parametrize("more", [{}, ALL_NULL, {"description": "somebody's own column"}])
def test_a_bare_row_has_defaults(more: dict[str, object]) -> None:
    """A column that is missing or NULL is the default, and others are nobody's business."""
    settings = TagSettings.from_row("order", {"app_tag": "order", "step": 10, **more})
    assert settings == TagSettings(
        step=10,
        max_step=None,
        target_cover=600,
        ceiling=None,
        allowed_users=None,
        ordered=False,
        max_count=None,
        user_rate=None,
    )


def test_every_column_is_read() -> None:
    """A full row is what it says."""
    row = {
        "step": 10,
        "max_step": 500,
        "target_cover": 60,
        "ceiling": 2**53 - 1,
        "allowed_users": " shop  billing ",
        "ordered": 1,
        "max_count": 5000,
        "user_rate": 200,
    }
    assert TagSettings.from_row("order", row) == TagSettings(
        step=10,
        max_step=500,
        target_cover=60.0,
        ceiling=2**53 - 1,
        allowed_users=frozenset({"shop", "billing"}),
        ordered=True,
        max_count=5000,
        user_rate=200,
    )


def test_a_target_of_0_is_kept() -> None:
    """0 seconds are a fixed step, and not the default."""
    assert TagSettings.from_row("order", {"step": 10, "target_cover": 0}).target_cover == 0


@pytest.mark.parametrize(
    ("column", "value", "advice"),
    [
        ("step", 0, "1 or more"),
        ("step", -5, "1 or more"),
        ("step", None, "1 or more"),
        ("step", "ten", "1 or more"),
        ("max_step", 0, "1 or more, or NULL"),
        ("target_cover", -1, "0 or more, or NULL"),
        ("target_cover", "600", "0 or more, or NULL"),
        ("ceiling", 0, "1 or more, or NULL"),
        ("ceiling", MAX_ID + 1, "1 or more, or NULL"),
        ("max_count", 0, "1 or more, or NULL"),
        ("user_rate", "fast", "1 or more, or NULL"),
        ("ordered", 2, "0 to 1, or NULL"),
        ("ordered", b"\x01", "0 to 1, or NULL"),
        ("allowed_users", "", "or NULL for everybody"),
        ("allowed_users", " \t", "or NULL for everybody"),
        ("allowed_users", 7, "or NULL for everybody"),
    ],
)
def test_a_bad_value_names_its_column(column: str, value: object, advice: str) -> None:
    """What cannot be worked with is refused with the column, the value and what it may be."""
    with pytest.raises(InvalidRowError) as raised:
        TagSettings.from_row("order", {"step": 10, column: value})
    assert raised.value.problem.startswith(f"{column} is ")
    assert advice in raised.value.problem


@pytest.mark.parametrize(
    ("allowed", "user", "answer"),
    [
        (None, "shop", True),
        (None, None, True),
        ("shop billing", "shop", True),
        ("shop billing", "sho", False),
        ("shop billing", "Shop", False),
        ("shop billing", None, False),
    ],
)
def test_who_may_draw(allowed: str | None, user: str | None, *, answer: bool) -> None:
    """Everybody may unless the row lists users; then only those may, to the letter."""
    row = {"step": 10, "allowed_users": allowed}
    assert TagSettings.from_row("order", row).allows(user) is answer


def test_users_of_a_binary_column() -> None:
    """A table whose texts come as bytes says the same."""
    row = {"step": 10, "allowed_users": "sh\u00f6p".encode()}
    assert TagSettings.from_row("order", row).allows("sh\u00f6p")
