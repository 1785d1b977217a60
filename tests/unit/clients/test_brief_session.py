"""Calls before uWSGI forks: uWSGI itself runs in `tests/integration/test_prefork_servers.py`."""

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from idalloc_client import ClientClosedError, IdAllocError, IdClient

NOBODY = "amqp://127.0.0.1:1/"


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Be in uWSGI's first process; setting `worker` makes it one of its workers."""
    module = SimpleNamespace(worker=0, mule_id=lambda: 0)
    module.worker_id = lambda: module.worker
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    return module


def fail_in_each_way(client: IdClient) -> None:
    """Make each kind of call, of which none gets an answer."""
    ids = client.sequence("order", timeout=0.01)
    calls: list[Any] = [
        lambda: client.next_id("order", timeout=0.01),
        lambda: client.next_ids("order", 3, timeout=0.01),
        lambda: client.health("order", timeout=0.01),
        lambda: client.fleet_health("order", within=0.01),
        lambda: next(ids),
    ]
    for call in calls:
        with pytest.raises(IdAllocError):
            call()


def threads_since(before: set[threading.Thread]) -> list[str]:
    """Name those of clients; one that resolves a host's name ends by itself."""
    names = [thread.name for thread in threading.enumerate() if thread not in before]
    return [name for name in names if name.startswith("idalloc")]


def test_no_call_leaves_a_thread_in_a_process_that_uwsgi_forks(uwsgi: SimpleNamespace) -> None:
    """A thread that wants the interpreter's lock at the fork would hang the child."""
    before = set(threading.enumerate())
    with IdClient(NOBODY, timeout=0.01) as client:
        fail_in_each_way(client)
        assert threads_since(before) == []
        uwsgi.worker = 1
        fail_in_each_way(client)
        assert len(threads_since(before)) == 1


def test_what_is_made_in_a_worker_of_uwsgi_has_one_connection(uwsgi: SimpleNamespace) -> None:
    """As everywhere else."""
    uwsgi.worker = 1
    before = set(threading.enumerate())
    with IdClient(NOBODY, timeout=0.01) as client:
        fail_in_each_way(client)
        assert len(threads_since(before)) == 1


def test_a_module_of_that_name_need_not_be_uwsgi(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application's tests may have one."""
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    before = set(threading.enumerate())
    with IdClient(NOBODY, timeout=0.01) as client:
        fail_in_each_way(client)
        assert len(threads_since(before)) == 1


@pytest.mark.usefixtures("uwsgi")
def test_a_client_that_was_closed_before_the_fork_is_closed() -> None:
    """No call opens a connection again."""
    client = IdClient(NOBODY)
    client.close()
    with pytest.raises(ClientClosedError):
        client.next_id("order")
    with pytest.raises(ClientClosedError):
        next(client.sequence("order"))
