"""Which messages a confirm speaks of."""

from idalloc_client.amqp._confirms import Confirms


def confirms(*items: str) -> Confirms[str]:
    made = Confirms[str]()
    for item in items:
        made.add(item)
    return made


def test_a_confirm_speaks_of_one_message_or_of_all_up_to_it() -> None:
    """Also out of order, and of each only once."""
    waiting = confirms("one", "two", "three", "four")
    assert waiting.settle(3, multiple=False) == {3: "three"}
    assert waiting.settle(3, multiple=False) == {}
    assert waiting.settle(3, multiple=True) == {1: "one", 2: "two"}
    assert waiting.oldest == "four"


def test_messages_that_nobody_waits_for_are_counted_in() -> None:
    """The broker numbers them too."""
    waiting = confirms("one")
    assert waiting.count() == 2
    assert waiting.add("three") == 3
    assert waiting.settle(2, multiple=False) == {}
    assert waiting.settle(3, multiple=True) == {1: "one", 3: "three"}
    assert waiting.oldest is None


def test_another_channel_begins_anew() -> None:
    """What was published on the last one is told, and not kept."""
    waiting = confirms("one", "two")
    assert waiting.reset() == ["one", "two"]
    assert (waiting.oldest, waiting.add("again")) == (None, 1)
