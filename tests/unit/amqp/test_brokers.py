"""Which broker a link connects to, how long it waits for it, and what it says of a move."""

from collections import Counter

import pytest
from pika import ConnectionParameters

from idalloc_client.amqp._backoff import Backoff
from idalloc_client.amqp._brokers import FIRST_PATIENCE, BrokerChoice, shuffled, spread

NAMES = ["a", "b", "c"]


def choice(*names: str) -> BrokerChoice:
    brokers = [
        ConnectionParameters(name, 5672, socket_timeout=5, stack_timeout=10) for name in names
    ]
    return BrokerChoice(brokers, Backoff(0.1, 2.0, jitter=lambda: 1.0))


def test_the_first_one_is_tried_first_and_kept_while_it_works() -> None:
    """Also when it was lost for a moment and another one could be had: that is the next one."""
    brokers = choice(*NAMES)
    assert brokers.next(0.0).host == "a"
    assert brokers.serves(0.0) is None
    assert [brokers.next(now).host for now in (1.0, 100.0)] == ["a", "a"]


def test_one_that_fails_is_left_at_once_and_the_move_told_once() -> None:
    """With what was wrong with those that were left; then there is nothing more to say."""
    brokers = choice(*NAMES)
    brokers.next(0.0)
    brokers.serves(0.0)
    assert brokers.failed("no heartbeat", 10.0, steady=True) == ("a:5672: no heartbeat", 0.0)
    assert brokers.next(10.0).host == "b"
    words, pause = brokers.failed("Connection refused", 10.0, steady=False)
    assert (words, pause) == ("a:5672: no heartbeat; b:5672: Connection refused", 0.0)
    assert brokers.next(10.0).host == "c"
    assert brokers.serves(10.0) == ("c:5672", words)
    assert brokers.serves(11.0) is None
    assert brokers.next(100.0).host == "c"  # though the others are well by then


def test_where_all_fail_each_rests_longer_each_time() -> None:
    """Nobody is asked without a pause; the one that has rested longest comes next."""
    brokers = choice("a", "b")
    pauses, now = [], 0.0
    for _ in range(12):
        brokers.next(now)
        _, pause = brokers.failed("Connection refused", now, steady=False)
        pauses.append(pause)
        now += pause
    assert pauses[0] == 0.0
    assert sum(pauses) > 2.0
    assert max(pauses) <= 1.0


def test_one_that_takes_logins_and_nothing_else_rests_longer_each_time() -> None:
    """Else a broker that ends each connection would be asked for one without a pause."""
    brokers = choice("a", "b")
    now = 0.0
    for _ in range(20):
        brokers.next(now)
        brokers.serves(now)
        now += brokers.failed("closed with 541", now, steady=False)[1]
    assert now > 4.0  # seconds: ten logins at each, with up to one between two of them


def test_a_silent_one_costs_little_time_where_there_is_another() -> None:
    """More each time: a broker that is slow for all its clients is reached in the end."""
    brokers = choice("a", "b")
    patience: dict[str, list[tuple[float | None, float | None]]] = {"a": [], "b": []}
    now = 0.0
    for _ in range(10):
        tried = brokers.next(now)
        patience[tried.host].append((tried.socket_timeout, tried.stack_timeout))
        now += brokers.failed("timed out", now, steady=False)[1]
    for each in patience.values():
        assert each[0] == (FIRST_PATIENCE, 2 * FIRST_PATIENCE)
        assert each[1] == (2 * FIRST_PATIENCE, 4 * FIRST_PATIENCE)
        assert each[-1] == (5, 10)  # what the URL allows is never exceeded


def test_a_single_one_has_all_the_time_of_its_url_and_the_backoff_of_its_link() -> None:
    """As it was before there could be several."""
    brokers = choice("a")
    assert (brokers.next(0.0).socket_timeout, brokers.next(0.0).stack_timeout) == (5, 10)
    pauses = [brokers.failed("gone", 0.0, steady=steady) for steady in (False, False, True)]
    assert pauses == [("gone", 0.1), ("gone", 0.2), ("gone", 0.1)]


def test_a_link_beside_begins_with_the_same_broker() -> None:
    """And has the others to go to."""
    brokers = choice(*NAMES)
    brokers.next(0.0)
    brokers.failed("gone", 0.0, steady=True)
    brokers.next(0.0)
    assert [broker.host for broker in brokers.in_turn()] == ["b", "c", "a"]


def test_an_address_of_six_words_is_told_as_it_is_written() -> None:
    """In brackets, so that the port can be told from it."""
    assert choice("fd00::3", "b").failed("gone", 0.0, steady=True)[0] == "[fd00::3]:5672: gone"


def test_clients_spread_over_the_brokers() -> None:
    """Each begins with one by chance."""
    firsts = Counter(shuffled(NAMES)[0] for _ in range(300))
    assert set(firsts) == set(NAMES)
    assert sorted(shuffled(NAMES)) == NAMES


@pytest.mark.parametrize("number", [0, 1, 5])
def test_the_members_of_a_group_begin_with_different_brokers(number: int) -> None:
    """And groups of one with any of them, so that not all of them begin with the first."""
    members = [spread(NAMES, "host 1", number + member)[0] for member in range(3)]
    assert sorted(members) == NAMES
    assert {spread(NAMES, f"host {group}", 1)[0] for group in range(50)} == set(NAMES)
