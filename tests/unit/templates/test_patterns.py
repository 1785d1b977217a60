"""Which pattern a tag is made from, and for whom."""

from dataclasses import replace

import pytest

from idalloc_worker.tags._errors import TagNotFoundError, TooManyNewTagsError
from idalloc_worker.tags._settings import TagSettings
from idalloc_worker.templates._patterns import Choice, Patterns

SHOP = TagSettings(step=10, new_per_minute=2)


def patterns(**rows: TagSettings) -> Patterns:
    """Make patterns; the word for the empty prefix is `all`."""
    made = Patterns()
    made.replace({f"{'' if name == 'all' else name}*": row for name, row in rows.items()})
    return made


def use_up(found: Patterns, user: str) -> float:
    """Have tags made until there may be no more; tells when there may."""
    for number in range(4):
        try:
            found.choose(f"t{number}", [user], 100.0)
        except TooManyNewTagsError as error:
            assert number >= 2
            return error.retry_after
    raise AssertionError("four in a minute, of two")


@pytest.mark.parametrize(
    ("app_tag", "pattern"),
    [("tenant-1", "tenant-*"), ("tenant-", "tenant-*"), ("tenant", "*")],
)
def test_the_longest_name_counts(app_tag: str, pattern: str) -> None:
    found = patterns(**{"all": SHOP, "tenant-": SHOP}).choose(app_tag, ["shop"], 0.0)
    assert found == Choice(pattern, "shop")


@pytest.mark.parametrize(
    "app_tag", ["tenant-*", "t*", "tenant-1@2026-11", "t@2026", "t@9999-12-31", "x" * 25]
)
def test_names_that_mean_something_else_are_not_made(app_tag: str) -> None:
    """Whoever makes the row of a period first says what its settings are; long ones have none."""
    month = replace(SHOP, period="month")
    found = patterns(**{"all": month, "tenant-": month})
    with pytest.raises(TagNotFoundError):
        found.choose(app_tag, ["shop"], 0.0)
    assert found.choose("x" * 24, ["shop"], 0.0).pattern == "*"


def test_other_rows_are_no_patterns() -> None:
    """A name that ends in * is a tag like any other, as long as the column says nothing else."""
    with pytest.raises(TagNotFoundError):
        patterns(tenant=TagSettings(step=10)).choose("tenant-1", ["shop"], 0.0)


def test_only_for_users_of_the_pattern() -> None:
    """Of several that wait, one is enough; a pattern for others is as good as none."""
    closed = TagSettings(step=10, new_per_minute=2, allowed_users=frozenset({"shop"}))
    found = patterns(all=closed)
    assert found.choose("a", [None, "mallory", "shop"], 0.0) == Choice("*", "shop")
    with pytest.raises(TagNotFoundError):
        found.choose("b", [None, "mallory"], 0.0)


def test_a_user_that_makes_too_many_harms_nobody_else() -> None:
    """It may make more as time passes, and is told when."""
    found = patterns(all=SHOP)
    retry_after = use_up(found, "mallory")
    assert 0 < retry_after <= 60
    assert found.choose("a", ["shop"], 100.0).user == "shop"
    assert found.choose("b", ["mallory", None], 100.0).user is None
    later = 100.0 + retry_after
    assert found.choose("c", ["mallory"], later).user == "mallory"


def test_an_allowance_outlives_a_look_at_the_table() -> None:
    """Otherwise everybody would begin anew every five seconds."""
    found = patterns(all=SHOP)
    use_up(found, "mallory")
    found.replace({"*": SHOP})
    with pytest.raises(TooManyNewTagsError):
        found.choose("a", ["mallory"], 100.0)
