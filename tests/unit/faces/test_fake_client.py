"""The clients for users' tests: they behave as the real ones, without a broker."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from idalloc_client import (
    AppTagNotFoundError,
    AsyncIdClient,
    BusyError,
    ClientClosedError,
    IdClient,
    InvalidRequestError,
)
from idalloc_client._clients import AsyncSession, Session
from idalloc_client._clients._async_session import AsyncLinkSession
from idalloc_client._clients._session import LinkSession
from idalloc_client.amqp import _cleartext
from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient, _AsyncFakeSession, _FakeSession
from idalloc_schemas import MAX_ID, RespCode
from tests.forks import in_child

URL = "amqp://user:password@127.0.0.1:1/"  # nobody listens, and no test here gets that far

# One call of everything public. A method that a real client gains has to be added here.
CALLS: dict[str, tuple[Any, ...]] = {
    "next_id": ("order",),
    "next_ids": ("order", 3),
    "next_number": ("invoice",),
    "next_numbers": ("invoice", 3),
    "sequence": ("order",),
    "fleet_health": ("order",),
    "health": ("order",),
    "stats": (),
    "close": (),
}

OFFLINE = {"close", "sequence", "stats"}
"""What needs no connection, and so works on a closed client as well."""

BAD_CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("next_id", ("",), {}),
    ("next_id", ("two words",), {}),
    ("next_id", ("x" * 33,), {}),
    ("next_id", (7,), {}),
    ("next_id", ("order",), {"timeout": -1}),
    ("next_id", ("order",), {"timeout": float("nan")}),
    ("next_ids", ("", 1), {}),
    ("next_ids", ("order", 0), {}),
    ("next_ids", ("order", MAX_ID + 1), {}),
    ("next_ids", ("order", "3"), {}),
    ("next_ids", ("order", 3), {"timeout": float("inf")}),
    ("next_number", ("two words",), {}),
    ("next_number", ("invoice",), {"timeout": -1}),
    ("next_numbers", ("invoice", 0), {}),
    ("sequence", ("",), {}),
    ("sequence", ("order",), {"floor": 0}),
    ("sequence", ("order",), {"timeout": -1}),
    ("health", ("",), {}),
    ("fleet_health", ("",), {}),
    ("fleet_health", ("order",), {"within": -1}),
    ("health", ("order",), {"timeout": -1}),
]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@contextmanager
def failure() -> Iterator[list[BaseException]]:
    """Collect what is raised, to compare it with what somebody else raises."""
    caught: list[BaseException] = []
    try:
        yield caught
    except Exception as error:  # noqa: BLE001  # whatever it is, it is compared
        caught.append(error)
    assert caught, "nothing was raised"


def run_async(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()

    asyncio.run(main())


async def outcome(client: IdClient | AsyncIdClient, name: str, *args: Any, **options: Any) -> Any:
    result = getattr(client, name)(*args, **options)
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize("kind", [FakeIdClient, AsyncFakeIdClient])
def test_a_fake_warns_of_nothing(
    kind: type[FakeIdClient | AsyncFakeIdClient],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It has no password that a network could read."""
    monkeypatch.setattr(_cleartext, "_warned", set())
    with caplog.at_level("DEBUG", "idalloc"):
        kind({"order": 1})
    assert not caplog.messages


def test_fakes_beside_one_another_share_ids_and_failures() -> None:
    """As clients of the same workers do; each has what else it is made with."""

    async def test() -> None:
        one = FakeIdClient({"order": 1}, segment=10)
        other = AsyncFakeIdClient(beside=one, retry=False)
        assert [one.next_id("order"), await other.next_id("order"), one.next_id("order")] == [
            1,
            2,
            3,
        ]
        one.fail_next(RespCode.BUSY)
        with pytest.raises(BusyError):
            await other.next_id("order")
        with pytest.raises(AppTagNotFoundError):
            await other.next_id("oder")
        assert one.unknown_tags == other.unknown_tags == {"oder"}

    run_async(test)


# The same interface


@pytest.mark.parametrize(
    ("real", "fake"), [(IdClient, FakeIdClient), (AsyncIdClient, AsyncFakeIdClient)]
)
def test_the_interface_is_the_real_one(real: type, fake: type) -> None:
    """Every public method has the signature of the real client's, and little is added."""
    assert public(fake) - public(real) == {"fail_next", "begin_period", "unknown_tags"}
    for name in public(real):
        assert inspect.signature(getattr(fake, name)) == inspect.signature(getattr(real, name))
        is_async = inspect.iscoroutinefunction(getattr(real, name))
        assert inspect.iscoroutinefunction(getattr(fake, name)) == is_async


def test_both_fakes_are_made_alike() -> None:
    """A test that changes from threads to asyncio changes the name of the class only."""
    assert inspect.signature(FakeIdClient) == inspect.signature(AsyncFakeIdClient)
    synchronous, asynchronous = FakeIdClient.fail_next, AsyncFakeIdClient.fail_next
    assert inspect.signature(synchronous) == inspect.signature(asynchronous)


@pytest.mark.parametrize(
    ("asked", "real", "fake"),
    [
        (Session, LinkSession, _FakeSession),
        (AsyncSession, AsyncLinkSession, _AsyncFakeSession),
    ],
)
def test_nothing_of_the_real_connection_is_left(asked: type, real: type, fake: type) -> None:
    """Whatever a client can ask of its session, the fake answers itself."""
    assert fake.__mro__ == (fake, object)
    assert public(asked) <= vars(fake).keys()
    assert public(asked) <= vars(real).keys()


def test_everything_public_works_on_the_fake() -> None:
    """No method of the real client ends in a fake that lacks what it needs."""
    assert CALLS.keys() == public(IdClient)
    client = FakeIdClient({"order": 1}, periods={"invoice": "2026"})
    for name, args in CALLS.items():
        getattr(client, name)(*args)


def test_everything_public_works_on_the_asynchronous_fake() -> None:
    """No method of the real client ends in a fake that lacks what it needs."""
    assert CALLS.keys() == public(AsyncIdClient)

    async def test() -> None:
        client = AsyncFakeIdClient({"order": 1}, periods={"invoice": "2026"})
        for name, args in CALLS.items():
            await outcome(client, name, *args)

    run_async(test)


@pytest.mark.parametrize(("name", "args", "options"), BAD_CALLS)
def test_bad_arguments_are_refused_as_by_the_real_client(
    name: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """The fake raises the real client's error, with its words."""
    raised = []
    for client in (IdClient(URL), FakeIdClient(any_tag=True)):
        with client, failure() as caught:
            getattr(client, name)(*args, **options)
        raised.append((type(caught[0]), str(caught[0])))
    assert raised[0] == raised[1]
    assert issubclass(raised[0][0], InvalidRequestError | ValueError)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in OFFLINE])
def test_a_closed_client_is_closed_as_the_real_one(name: str) -> None:
    """After `close`, which may be repeated, every call raises the real client's error."""
    raised = []
    for client in (IdClient(URL), FakeIdClient({"order": 1})):
        client.close()
        client.close()
        with failure() as caught:
            getattr(client, name)(*CALLS[name])
        raised.append((type(caught[0]), str(caught[0])))
    assert raised[0] == raised[1]
    assert raised[0][0] is ClientClosedError


@pytest.mark.parametrize("name", [name for name in CALLS if name not in OFFLINE])
def test_a_closed_asynchronous_client_is_closed_as_the_real_one(name: str) -> None:
    """After `close`, which may be repeated, every call raises the real client's error."""

    async def test() -> None:
        raised = []
        for client in (AsyncIdClient(URL), AsyncFakeIdClient({"order": 1})):
            await client.close()
            await client.close()
            with failure() as caught:
                await outcome(client, name, *CALLS[name])
            raised.append((type(caught[0]), str(caught[0])))
        assert raised[0] == raised[1]
        assert raised[0][0] is ClientClosedError

    run_async(test)


@pytest.mark.parametrize(("name", "args", "options"), BAD_CALLS)
def test_the_asynchronous_fake_refuses_bad_arguments(
    name: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """It raises what the synchronous one raises."""

    async def test() -> None:
        with FakeIdClient(any_tag=True) as other, failure() as expected:
            getattr(other, name)(*args, **options)
        async with AsyncFakeIdClient(any_tag=True) as client:
            with failure() as caught:
                await outcome(client, name, *args, **options)
        assert (type(caught[0]), str(caught[0])) == (type(expected[0]), str(expected[0]))

    run_async(test)


def test_a_call_in_flight_ends_with_the_client() -> None:
    """Closing ends what was asked for before, with the real client's error."""

    async def test() -> None:
        client = AsyncFakeIdClient({"order": 1})
        asked = asyncio.ensure_future(client.next_id("order"))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ClientClosedError, match="during the call"):
            await asked

    run_async(test)


def test_a_cancelled_call_uses_up_no_id() -> None:
    """A task may be cancelled at its await; the next one gets the id."""

    async def test() -> None:
        client = AsyncFakeIdClient({"order": 1})
        asked = asyncio.ensure_future(client.next_id("order"))
        await asyncio.sleep(0)
        asked.cancel()
        assert await client.next_id("order") == 1
        assert asked.cancelled()

    run_async(test)


def test_other_tasks_run_during_a_call() -> None:
    """A call gives the loop a turn as a real one does, so that races show in users' tests."""

    async def test() -> None:
        client = AsyncFakeIdClient({"order": 1})
        ran: list[str] = []
        asyncio.get_running_loop().call_soon(ran.append, "other")
        await client.next_id("order")
        assert ran == ["other"]

    run_async(test)


def test_an_asynchronous_fake_belongs_to_one_loop() -> None:
    """Use on a second loop is the mistake that it is with the real client."""
    client = AsyncFakeIdClient({"order": 1})
    assert asyncio.run(client.next_id("order")) == 1
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(client.next_id("order"))


@pytest.mark.parametrize("kind", [FakeIdClient, AsyncFakeIdClient])
def test_a_fake_that_was_in_use_serves_a_child(
    kind: type[FakeIdClient | AsyncFakeIdClient],
) -> None:
    """As a real client does, once there is a loop that is not the parent's."""
    client = kind({"order": 1})
    assert in_child(lambda: run_async_and_return(client)) == "1"

    async def test() -> None:
        await outcome(client, "next_id", "order")

    run_async(test)
    assert in_child(lambda: run_async_and_return(client)) == "2"
    assert in_child(lambda: client.stats().served) == "0"


def run_async_and_return(client: FakeIdClient | AsyncFakeIdClient) -> object:
    """Ask for an id on a loop of its own."""
    asyncio._set_running_loop(None)  # as Python's own fork does
    return asyncio.run(outcome(client, "next_id", "order"))
