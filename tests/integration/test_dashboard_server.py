"""`idalloc dashboard` as a process: where it listens, what it says, and how it ends."""

import json
import signal
from contextlib import closing
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from devstack.workers import PATIENCE, Fleet
from tests.dashboards import NO_BROKER, address, dashboard


def get(url: str, path: str) -> Any:
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 200
        assert "server" not in answer.headers
        return json.loads(answer.read())


def test_it_shows_the_fleet(fleet: Fleet) -> None:
    """Every worker, once each of them was heard."""
    fleet.start(2)
    with dashboard(fleet.amqp_url, "--interval", "0.2") as process:
        url = address(process)
        seen: dict[str, Any] = {"number": 0, "workers": []}
        while len(seen["workers"]) < 2:
            seen = get(url, f"/fleet.json?after={seen['number']}")
        assert seen["alarms"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    """With status 0 and no traceback, also while a page waits for news."""
    with dashboard(NO_BROKER, "--interval", "600") as process:
        url = urlsplit(address(process)).netloc
        with closing(HTTPConnection(url, timeout=PATIENCE)) as waiting:
            waiting.request("GET", "/fleet.json")
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")


def test_without_a_broker_it_says_so_and_goes_on() -> None:
    """The page is there, and has the reason."""
    with dashboard(NO_BROKER, "--interval", "0.2") as process:
        (alarm,) = get(address(process), "/fleet.json")["alarms"]
    assert alarm.startswith("The broker cannot be reached, trying on: ")


def test_a_port_in_use_is_an_error_at_once() -> None:
    """In one line, and before anything is said of an address."""
    with dashboard(NO_BROKER) as first:
        taken = urlsplit(address(first)).netloc
        with dashboard(NO_BROKER, "--listen", taken) as second:
            output, errors = second.communicate(timeout=PATIENCE)
    assert (second.returncode, output) == (1, "")
    assert errors.startswith("idalloc: --listen: cannot listen on 127.0.0.1 port ")


def test_another_address_says_what_it_shows_to_whom() -> None:
    """Loopback needs no warning, everything else does."""
    with dashboard(NO_BROKER, "--listen", "0.0.0.0:0") as process:
        address(process)
        assert process.stderr is not None
        assert "whoever reaches this address sees, without a password" in process.stderr.readline()
