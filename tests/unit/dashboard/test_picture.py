"""What the dashboard says in plain words, and in JSON."""

import json

import pytest

from idalloc_client import CallTimeoutError, IdAllocError
from idalloc_schemas import HealthReply
from idalloc_worker.dashboard._picture import picture
from idalloc_worker.survey import View
from tests.surveys import polls, reply, tag


def alarms(*answers: list[HealthReply]) -> list[str]:
    return picture(1, 1.0, View(polls(*answers)), connected=True).alarms


def test_all_is_well() -> None:
    """No alarm, also not for a tag that nobody has asked for."""
    assert alarms([reply("a", tag(), tag("audit", state="cold", left=0))]) == []


def test_a_worker_that_is_gone_is_named() -> None:
    """Once it missed two questions."""
    both = [reply("a", tag()), reply("b", tag())]
    assert alarms(both, both[:1], both[:1]) == ["Does not answer any more: b."]


def test_a_crowd_is_counted() -> None:
    """The first three by name, the others as a number."""
    crowd = [reply(f"w{number}") for number in range(9)]
    (alarm,) = alarms(crowd, crowd[:1], crowd[:1])
    assert alarm == "Does not answer any more: w1, w2, w3 and 5 more."


def test_a_lost_database_is_told_with_the_reason() -> None:
    """Which workers, and which tags are in trouble."""
    lost = reply("a", tag(state="failing", last_error="gone away"))
    told = alarms([lost.model_copy(update={"database": False})])
    assert told == [
        "Could not use the database when it was last needed: a.",
        "In trouble, see the last error below: order.",
    ]


def test_an_unprotected_worker_is_told() -> None:
    """It works, and would hand out ids twice after a restore."""
    (alarm,) = alarms([reply("a").model_copy(update={"protected": False})])
    assert alarm == "Not protected against a database that is rolled back, see its log: a."


@pytest.mark.parametrize(
    ("connected", "begin"), [(True, "No worker answers"), (False, "The broker cannot be reached")]
)
def test_who_is_missing_is_told_apart(*, connected: bool, begin: str) -> None:
    """No answer has one alarm, with the reason: that all workers seem gone follows from it."""
    problem: IdAllocError = CallTimeoutError("no reply")
    view = View(polls([reply("a", tag())], [], []), problem)
    (alarm,) = picture(1, 1.0, view, connected=connected).alarms
    assert alarm == f"{begin}, trying on: no reply."


def test_the_json_has_all_that_the_page_shows() -> None:
    """Names as they are in Python, and no id: a browser's numbers end at 2**53."""
    table = polls([reply("a", tag(segments=[(2**62, 2**62 + 5)], step=5))])
    told = json.loads(picture(7, 0.5, View(table), connected=True).encode())
    assert (told["number"], told["interval"], told["tags_unlisted"]) == (7, 0.5, 0)
    (order,), (worker,) = told["tags"], told["workers"]
    assert order["buffers"] == [{"worker": "a", "state": "ready", "segments": [5], "step": 5}]
    assert (order["cover"], worker["name"], worker["database"]) == (None, "a", True)
