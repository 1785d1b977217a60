"""Whose messages count as a worker's, whatever the broker calls its users."""

import pytest
from pika.exceptions import ChannelClosedByBroker

from idalloc_worker.rights._fleet_users import FleetUsers
from tests.vouched import WORKER_USER, connection_of, logged_in


def refusal(claimed: str, actual: str) -> ChannelClosedByBroker:
    """Make what RabbitMQ says, from 3.10 to 4.3."""
    words = f"PRECONDITION_FAILED - user_id property set to '{claimed}' but authenticated user was "
    return ChannelClosedByBroker(406, f"{words}'{actual}'")


def test_workers_that_log_in_alike_trust_each_other() -> None:
    """Nobody needs to name them."""
    users = logged_in()
    assert (users.name, users.user_id) == (WORKER_USER, WORKER_USER.encode())
    assert users.trusts(WORKER_USER.encode())
    assert not any(users.trusts(user) for user in (b"idalloc-caller", b"", b"?", None))


def test_what_comes_through_the_exchange_needs_no_name() -> None:
    """Workers of earlier versions give none there, and callers may not write to it."""
    users = logged_in()
    assert users.admits(None, from_fleet=True)
    assert not users.admits(None, from_fleet=False)


def test_a_fleet_whose_names_are_set_trusts_these_and_no_other() -> None:
    """Its own name is among them in any case."""
    users = logged_in("a", names=("b", "c"))
    assert all(users.admits(user, from_fleet=False) for user in (b"a", b"b", b"c"))
    assert not any(users.admits(user, from_fleet=True) for user in (b"d", None))


@pytest.mark.parametrize("login", [WORKER_USER, None, "x" * 256])
def test_the_broker_tells_by_which_name_it_knows_a_worker(login: str | None) -> None:
    """A token's or a certificate's user has another one than the login, or the login has none."""
    users = logged_in(login)
    assert users.name is not None
    assert users.refused(refusal(users.name, "it's 7"))
    users.log_in(connection_of(login))  # the next connection begins with what was learned
    assert users.name == "it's 7"
    assert users.trusts(b"it's 7")
    assert not users.trusts(WORKER_USER.encode())


def test_another_user_may_log_in_on_the_next_connection() -> None:
    """After a rotation it speaks under that name, and trusts the one of before if it is named."""
    users = logged_in("a", names=("a", "b"))
    users.log_in(connection_of("b"))
    assert (users.name, users.trusts(b"a"), users.trusts(b"b")) == ("b", True, True)
    alone = logged_in("a")
    alone.log_in(connection_of("b"))
    assert (alone.name, alone.trusts(b"a")) == ("b", False)


def test_a_broker_that_does_not_tell(caplog: pytest.LogCaptureFixture) -> None:
    """The worker goes on without a name, says what to do, and knows that it knows nobody."""
    users = logged_in()
    assert users.refused(ChannelClosedByBroker(406, "PRECONDITION_FAILED - invalid user_id"))
    assert (users.name, users.known) == (None, False)
    assert "IDALLOC_FLEET_USERS" in caplog.text
    named = FleetUsers(("w",))
    named.refused(ChannelClosedByBroker(406, "PRECONDITION_FAILED - invalid user_id"))
    assert named.trusts(b"w")


@pytest.mark.parametrize(
    "reason",
    [
        ChannelClosedByBroker(406, "PRECONDITION_FAILED - unknown delivery tag 7"),
        ChannelClosedByBroker(404, "NOT_FOUND - no queue 'user_id'"),
        ConnectionResetError("user_id"),
    ],
)
def test_other_ends_of_a_channel_say_nothing_of_the_name(reason: BaseException) -> None:
    """It stays what it was."""
    users = logged_in()
    assert not users.refused(reason)
    assert users.name == WORKER_USER
