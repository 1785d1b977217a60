"""The commands behind `make demo`, `make up` and `make dev`, run on the tests' servers."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from devstack import Management, Stack
from devstack._product import without_password
from devstack.servers._database import connect
from devstack.servers._stack import AMQP_URL, MANAGEMENT_URL, MYSQL_URL
from idalloc_client import ForbiddenError, IdClient
from tests.integration.conftest import NO_COPIES
from tests.waiting import wait_until

pytestmark = pytest.mark.long

DASHBOARD = "The fleet in a browser: "
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment(stack: Stack) -> dict[str, str]:
    """Give an environment that names the stack, as a person's own servers."""
    urls = {
        AMQP_URL: stack.amqp_url,
        MANAGEMENT_URL: stack.management_url,
        MYSQL_URL: stack.mysql_url,
    }
    return {**os.environ, **urls, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(NO_COPIES)}


@pytest.fixture
def nothing_left(stack: Stack) -> Iterator[None]:
    """Check that a command leaves no vhost and no database on somebody else's servers.

    Others may run such commands at the same time: what is theirs goes when they end.
    """
    before = vhosts(stack) | databases(stack)
    yield
    appeared = (vhosts(stack) | databases(stack)) - before
    wait_until(lambda: not appeared & (vhosts(stack) | databases(stack)))


def vhosts(stack: Stack) -> set[str]:
    names = (vhost["name"] for vhost in Management(stack.management_url).get("/api/vhosts"))
    return {name for name in names if name.startswith("idalloc_vhost_")}


def databases(stack: Stack) -> set[str]:
    with closing(connect(stack.mysql_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'idalloc\\_database\\_%'")
        return {name for (name,) in cursor.fetchall()}


@contextmanager
def command(
    name: str, environment: dict[str, str], *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a command that does not outlive its test, not even one that fails."""
    with subprocess.Popen(
        [sys.executable, "-m", "devstack", name, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # as a shell does, so that a Ctrl-C reaches the whole group
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def shown(environment: dict[str, str]) -> str:
    """Give all that a demo prints."""
    with command("demo", environment) as demo:
        output, _ = demo.communicate()
    assert demo.returncode == 0, output
    return output


def test_the_demo_shows_the_reference_numbers(shown: str) -> None:
    """Ids 1 and 2, then 199997 left and max_id 200000, each beside the command that shows it."""
    assert "$ idalloc next test_business\n1\n$ idalloc next test_business\n2\n" in shown
    assert '"left":199997' in shown
    assert '"max_id": 200000' in shown
    assert "All as expected." in shown


def test_the_demo_does_not_show_passwords_of_given_servers(shown: str, stack: Stack) -> None:
    """What it prints may go into a ticket."""
    secret = stack.mysql_url.rpartition("@")[0].rpartition(":")[2]
    assert f":{secret}@" not in shown
    assert ":***@" in shown


ANOTHER_NUMBER = """
import sys
from devstack import __main__, _demo, _product

look = _demo._look_at_the_state

def look_twice(*site):  # once all is there, the second time for what is not
    look(*site)
    _demo.LEFT, _product.WAIT_SECONDS = 5, 1
    look(*site)

_demo._look_at_the_state = look_twice
sys.argv = ["x", "demo"]
sys.exit(__main__.main())
"""


@pytest.mark.usefixtures("nothing_left")
def test_a_demo_that_fails_says_why(environment: dict[str, str]) -> None:
    """A number that is not as expected ends it with a code, the reason and the worker's log."""
    result = subprocess.run(
        [sys.executable, "-c", ANOTHER_NUMBER],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "demo failed: idalloc health test_business --json did not answer" in result.stderr
    assert '"left":199997' in result.stderr
    assert "The worker's log ends with:\n20" in result.stderr


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_runs_until_it_is_stopped(environment: dict[str, str], number: signal.Signals) -> None:
    """It says what to try, and a Ctrl-C is not an error."""
    with command("up", environment) as up:
        assert up.stdout is not None
        shown = ""
        while "Started worker process 2" not in shown or DASHBOARD not in shown:
            line = up.stdout.readline()
            assert line, shown
            shown += line
        page = shown.partition(DASHBOARD)[2].split()[0]
        with urllib.request.urlopen(f"{page}fleet.json") as answer:
            assert json.load(answer)["number"] > 0
        os.killpg(up.pid, number)
        shown += up.stdout.read()
        up.wait()
    assert up.returncode == 0, shown
    assert ".venv/bin/idalloc next test_business" in shown
    assert "RabbitMQ's management UI: http://" in shown
    assert shown.endswith("Stopped.\n")


@pytest.mark.long
def test_dev_needs_no_servers(environment: dict[str, str]) -> None:
    """It brings a RabbitMQ of its own, says where that is, and passes faults on."""
    faults = ("--tag", "order", "--tag", "invoice", "--fail", "invoice=FORBIDDEN")
    with command("dev", environment, *faults) as dev:
        assert dev.stdout is not None
        shown = ""
        while "Serving" not in shown:
            line = dev.stdout.readline()
            assert line, shown
            shown += line
        url = shown.partition("IDALLOC_AMQP_URL=")[2].split()[0]
        with IdClient(url) as client:
            assert client.next_id("order") == 1
            with pytest.raises(ForbiddenError):
                client.next_id("invoice")
        os.killpg(dev.pid, signal.SIGINT)
        shown += dev.stdout.read()
        dev.wait()
    assert dev.returncode == 0, shown
    assert shown.endswith("Stopped.\n")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://me:secret@host:1/v", "amqp://me:***@host:1/v"),
        ("mysql://me:a%40b@host/db", "mysql://me:***@host/db"),
        ("amqp://host/v", "amqp://host/v"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    """Only the password is."""
    assert without_password(url) == shown
