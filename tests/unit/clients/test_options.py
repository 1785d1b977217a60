"""The options of a client: each of them arrives where it is read, whichever client was given it."""

import asyncio
import copy
import inspect
import pickle
from dataclasses import fields
from typing import Any

import pytest

from idalloc_client import AsyncIdClient, IdClient
from idalloc_client._clients import _session
from idalloc_client._options import ClientOptions
from idalloc_client._stats._counters import ClientCounters
from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient

URL = "amqp://user:password@127.0.0.1:1/"

# One value of each option, and what it is once it was checked. A new option has to be added here.
GIVEN: dict[str, tuple[Any, str, Any]] = {
    "url": ("amqp://127.0.0.2:1/", "brokers.0.host", "127.0.0.2"),
    "timeout": (1.5, "timeout", 1.5),
    "name": ("shop", "brokers.0.client_properties.connection_name", "shop"),
    "max_in_flight": (7, "max_in_flight", 7),
    "exchange": ("id.requests", "exchange", "id.requests"),
    "workers": (["one", "two"], "workers", frozenset((b"one", b"two"))),
    "retry": (False, "retry", False),
}

CLIENTS: list[type[IdClient | AsyncIdClient]] = [IdClient, AsyncIdClient]


def read(options: object, path: str) -> object:
    for name in path.split("."):
        if isinstance(options, dict):
            options = options[name]
        else:
            options = options[int(name)] if isinstance(options, tuple) else getattr(options, name)
    return options


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("name", inspect.signature(IdClient).parameters)
def test_each_option_arrives(kind: type[IdClient | AsyncIdClient], name: str) -> None:
    """Both clients take the same ones, and what was given is what is read."""
    value, path, checked = GIVEN[name]
    client = kind(**{"url": URL, name: value})
    assert read(client._options, path) == checked
    assert read(kind(URL)._options, path) != checked
    assert {path.split(".", maxsplit=1)[0] for _, path, _ in GIVEN.values()} == {
        field.name for field in fields(ClientOptions)
    }


@pytest.mark.parametrize(("kind", "most"), [(IdClient, 10_000), (AsyncIdClient, 100_000)])
def test_defaults(kind: type[IdClient | AsyncIdClient], most: int) -> None:
    """Tasks are more than threads are; all else is the same for both."""
    options = kind(URL)._options
    assert (options.max_in_flight, options.timeout) == (most, 5.0)
    assert (options.exchange, options.workers, options.retry) == ("", frozenset(), True)
    assert inspect.signature(IdClient) == inspect.signature(AsyncIdClient)


def test_no_option_has_a_default_of_its_own() -> None:
    """Else one that is not passed on would go unnoticed."""
    assert all(
        parameter.default is parameter.empty
        for parameter in inspect.signature(ClientOptions).parameters.values()
    )


@pytest.mark.parametrize("kind", [FakeIdClient, AsyncFakeIdClient])
def test_a_fake_has_the_options_of_a_client_that_was_given_none(
    kind: type[FakeIdClient | AsyncFakeIdClient],
) -> None:
    """It is made by the real client's constructor, so that what lies above the session works."""
    real = IdClient if kind is FakeIdClient else AsyncIdClient
    for name in ("timeout", "max_in_flight", "exchange", "workers", "retry"):
        assert read(kind()._options, name) == read(real(URL)._options, name)


def seen(session: Any, pending: Any, queues: Any) -> list[object]:
    """Tell what a session and its pending calls made of the options."""
    assert session.batcher.queues(session._timeout) is queues
    assert session.batcher._retry is False
    calls = (pending._max_in_flight, session.batcher._call_limit.max_calls)
    return [
        session._timeout,
        calls,
        pending._route.exchange.decode(),
        pending._workers,
        pending._login.user_id,
    ]


class FakeLinkThread:
    """A link that nobody opens."""

    def __init__(self, brokers: object, *_: object) -> None:
        self.brokers = brokers
        self.link = self

    def open_channel(self) -> None: ...

    def call_soon(self, _: object) -> None: ...

    def call_later(self, _: float, __: object) -> None: ...


def test_both_sessions_read_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits, the timeout of calls that name none, where requests go, whose replies count."""
    given: dict[str, Any] = {"timeout": 1.5, "max_in_flight": 7, "exchange": "id.requests"}
    given |= {"workers": "one", "retry": False}
    client, tasks = IdClient(URL, **given), AsyncIdClient(URL, **given)
    options, session = client._options, client._session
    assert isinstance(session, _session.LinkSession)
    assert session._options is options
    monkeypatch.setattr(_session, "LinkThread", FakeLinkThread)
    running: Any = _session._Running(options, ClientCounters())
    assert running.thread.brokers == list(options.brokers)
    expected = [1.5, (7, 7), "id.requests", frozenset((b"one",)), b"user"]
    assert seen(running, running.pending, running.queues) == expected

    async def test() -> None:
        session: Any = tasks._new_session(asyncio.get_running_loop())
        assert seen(session, session._pending, session._queues) == expected
        assert session._link._brokers.in_turn() == list(tasks._options.brokers)

    asyncio.run(test())


@pytest.mark.parametrize("kind", [IdClient, AsyncIdClient, FakeIdClient, AsyncFakeIdClient])
def test_a_client_is_neither_copied_nor_passed_to_another_process(kind: Any) -> None:
    """The error says what to do instead, not what could not be pickled inside."""
    client = kind() if "Fake" in kind.__name__ else kind(URL)
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="where each process imports it"):
            copied(client)
