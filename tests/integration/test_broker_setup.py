"""`idalloc broker-setup` on real brokers: what it makes and leaves alone, and what that is for."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pika
import pika.exceptions
import pytest
from click.testing import CliRunner, Result

from devstack import Database, Management, Stack
from devstack.workers import PATIENCE, Fleet
from idalloc_client import BusyError, IdAllocError, IdClient, NoRouteError
from idalloc_schemas import MARKS_STREAM
from idalloc_worker.broker_setup._api import BrokerApiError
from idalloc_worker.broker_setup._definitions import Broker
from idalloc_worker.broker_setup._password import variable_of
from idalloc_worker.cli._main import cli

REPLY_TO = "amq.rabbitmq.reply-to"
REQUESTS = "id.requests"


@dataclass
class Site:
    """A broker, and names there that nobody else has."""

    stack: Stack
    name: str

    def __post_init__(self) -> None:
        self.management = Management(self.stack.management_url)
        self.worker, self.caller = f"{self.name}-w", f"{self.name}-c"
        self.password = secrets.token_hex(8)

    def run(self, *options: str, **environ: str) -> Result:
        """Run the command for these names; the passwords are in the environment."""
        names = ["--vhost", self.name, "--worker", self.worker, "--caller", self.caller]
        password = urlsplit(self.stack.management_url).password or "guest"
        passwords = {variable_of(user): self.password for user in (self.worker, self.caller)}
        env = {"IDALLOC_BROKER_PASSWORD": password, **passwords, **environ}
        result = CliRunner().invoke(cli, ["broker-setup", *names, *options], env=env)
        assert self.password not in result.output
        return result

    def apply(self, *options: str, **environ: str) -> list[str]:
        """Apply it, and return what it tells."""
        result = self.run("--apply", self.api, *options, **environ)
        assert result.exit_code == 0, result.exception
        return result.stdout.splitlines()

    @property
    def api(self) -> str:
        """What follows `--apply`."""
        parts = urlsplit(self.stack.management_url)
        return f"http://{parts.username}@{parts.netloc.rpartition('@')[2]}"

    def url_of(self, user: str) -> str:
        address = urlsplit(self.stack.amqp_url).netloc.rpartition("@")[2]
        return f"amqp://{user}:{self.password}@{address}/{self.name}"

    def at(self, kind: str, name: str) -> str:
        return f"/api/{kind}/{self.name}/{quote(name, safe='')}"


@pytest.fixture
def site(stack: Stack) -> Iterator[Site]:
    with a_site(stack) as it:
        yield it


@contextmanager
def a_site(stack: Stack) -> Iterator[Site]:
    it = Site(stack, f"setup-{secrets.token_hex(4)}")
    with ExitStack() as stack_:
        for path in (f"vhosts/{it.name}", f"users/{it.worker}", f"users/{it.caller}"):
            stack_.callback(forget, it.management, f"/api/{path}")
        yield it


def forget(management: Management, path: str) -> None:
    try:
        management.delete(path)
    except OSError:  # it was never made
        return


def test_it_makes_all_of_it_once(site: Site) -> None:
    """What a dry run tells is done, a second run does nothing, and what is there is as printed."""
    would = site.apply("--dry-run")
    assert site.name not in {vhost["name"] for vhost in site.management.get("/api/vhosts")}
    did = site.apply()
    assert would == [f"would have {line}" for line in did]
    assert all(line.startswith("created ") for line in did)
    assert site.apply() == [f"nothing to do: virtual host {site.name} has it all"]
    printed = json.loads(site.run().stdout)
    found = there(site)
    for kind in ("permissions", "exchanges", "bindings", "policies", "parameters"):
        for entry in printed[kind]:
            entry.pop("internal", None)  # RabbitMQ 4 does not export what is not
            assert entry in found[kind]


def there(site: Site) -> dict[str, list[dict[str, Any]]]:
    """Return what the broker has of this site, without what others do there meanwhile."""
    users = {site.worker, site.caller}
    found = {
        kind: [it for it in entries if it.get("vhost") == site.name or it.get("name") in users]
        for kind, entries in site.management.get("/api/definitions").items()
        if isinstance(entries, list)
    }
    for entry in found["exchanges"]:
        entry.pop("internal", None)
    return {kind: sorted(entries, key=json.dumps) for kind, entries in found.items()}


def test_what_it_prints_is_what_it_applies(site: Site) -> None:
    """A broker that has imported it lacks nothing."""
    site.management.post("/api/definitions", json.loads(site.run().stdout))
    assert site.apply() == [f"nothing to do: virtual host {site.name} has it all"]


def test_the_worker_serves_and_is_protected(site: Site, database: Database) -> None:
    """In a virtual host of its own, with users that can do no more than they need."""
    site.apply()
    with (
        Fleet(site.url_of(site.worker), database.url) as fleet,
        IdClient(site.url_of(site.caller), timeout=30) as client,
    ):
        (running,) = fleet.start()
        assert client.next_id("test_business") == 1
        assert "not protected" not in running.tail()


def changed(site: Site) -> None:
    """Change what an operator may have changed."""
    to = site.management
    to.put(
        site.at("policies", "idalloc-requests"),
        {
            "pattern": r"^id\.(alloc|health)$",
            "definition": {"max-length": 7},
            "priority": 10,
            "apply-to": "queues",
        },
    )
    to.put(site.at("permissions", site.caller), {"configure": "^$", "write": ".*", "read": "^$"})
    to.put(f"/api/vhost-limits/{site.name}/max-connections", {"value": 9})
    to.put(f"/api/user-limits/{site.worker}/max-channels", {"value": 8})


def test_what_is_there_is_left_alone_and_told(site: Site) -> None:
    """Rights, limits, policies and passwords change only when that is asked for."""
    site.apply()
    changed(site)
    before = there(site)
    told = site.apply(**{variable_of(site.caller): "another"})
    assert there(site) == before
    assert {line.partition(":")[0] for line in told} == {
        f"left alone limits of virtual host {site.name}",
        f"left alone limits of user {site.worker}",
        f"left alone user {site.caller}",
        f"left alone rights of {site.caller} in {site.name}",
        "left alone policy idalloc-requests",
    }
    assert all("--update" in line for line in told)
    assert all(line.startswith("changed ") for line in site.apply("--update"))
    assert site.apply() == [f"nothing to do: virtual host {site.name} has it all"]


def test_a_run_that_ended_half_way_is_completed(site: Site) -> None:
    """Users and virtual host were made, and not all of their limits: the next run sets them."""
    site.apply()
    to = site.management
    for limit in ("max-connections", "max-queues"):
        to.delete(f"/api/vhost-limits/{site.name}/{limit}")
    for limit in ("max-connections", "max-channels"):
        to.delete(f"/api/user-limits/{site.worker}/{limit}")
    to.delete(f"/api/user-limits/{site.caller}/max-channels")
    with closing(pika.BlockingConnection(pika.URLParameters(site.url_of(site.worker)))) as it:
        it.channel().queue_declare("id.fleet.one", exclusive=True)  # as running workers have
        told = site.apply()
    assert told == [
        f"created limits of virtual host {site.name}",
        f"created limits of user {site.worker}",
        f"created limits of user {site.caller}",
    ]
    assert site.apply() == [f"nothing to do: virtual host {site.name} has it all"]


def test_limits_that_somebody_lifted_stay_lifted(site: Site) -> None:
    """As RabbitMQ says that there is none: with a negative number."""
    site.apply()
    site.management.put(f"/api/user-limits/{site.worker}/max-channels", {"value": -1})
    (told,) = site.apply()
    assert told.startswith(f"left alone limits of user {site.worker}: max-channels is -1")


def test_a_virtual_host_with_queues_of_others_is_not_limited_unasked(site: Site) -> None:
    """They may have more of them than it would allow."""
    make_vhost(site)
    site.management.put(site.at("queues", "theirs"), {"durable": True})
    held = f"left out limits of virtual host {site.name}: it has queues of others"
    assert [line for line in site.apply() if line.startswith(held)]
    assert site.apply("--update") == [f"created limits of virtual host {site.name}"]


def test_a_queue_with_other_arguments_is_told_of(site: Site) -> None:
    """It is neither deleted nor a reason to stop."""
    site.management.put(f"/api/vhosts/{site.name}", {})
    other = {"durable": True, "auto_delete": False, "arguments": {"x-max-length": 5}}
    for queue in ("id.alloc", "id.ordered.3"):
        site.management.put(site.at("queues", queue), other)
    told = site.apply("--update")
    left = [line for line in told if line.startswith("left alone")]
    assert [line.partition(":")[0] for line in left] == [
        "left alone queue id.alloc",
        "left alone queue id.ordered.3",
    ]
    assert "x-single-active-consumer is not set, not True" in left[1]
    assert site.management.get(site.at("queues", "id.alloc"))["arguments"]["x-max-length"] == 5
    assert "created policy idalloc-dead" in told


def test_a_policy_of_somebody_else_stays_in_force(site: Site) -> None:
    """It may be what mirrors the queues: RabbitMQ applies one policy to a queue."""
    site.management.put(f"/api/vhosts/{site.name}", {})
    theirs = {"pattern": r"^id\.alloc", "definition": {"expires": 10**8}, "apply-to": "all"}
    site.management.put(site.at("policies", "theirs"), theirs)
    told = site.apply()
    held = [line for line in told if line.startswith("left out")]
    assert held
    assert all("policy theirs would no longer apply to id.alloc" in line for line in held)
    names = {policy["name"] for policy in site.management.get(f"/api/policies/{site.name}")}
    assert "idalloc-dead" in names
    assert "idalloc-requests" not in names


def test_new_users_get_new_passwords_that_only_the_owner_reads(site: Site, tmp_path: Path) -> None:
    """They log in; who is there already keeps the old one."""
    file = tmp_path / "passwords"
    without = dict.fromkeys(map(variable_of, (site.worker, site.caller)), "")
    site.apply("--write-passwords", str(file), **without)
    assert file.stat().st_mode & 0o077 == 0
    lines = dict(line.split("=") for line in file.read_text("utf-8").splitlines())
    site.password = lines[variable_of(site.worker)]
    pika.BlockingConnection(pika.URLParameters(site.url_of(site.worker))).close()
    assert site.apply(**without) == [f"nothing to do: virtual host {site.name} has it all"]
    pika.BlockingConnection(pika.URLParameters(site.url_of(site.worker))).close()


def test_a_refusal_of_the_broker_is_told_without_the_password(site: Site) -> None:
    """The text says what the broker said, and the exit code that it failed."""
    result = site.run("--apply", site.api, IDALLOC_BROKER_PASSWORD="wrong-one")
    assert isinstance(result.exception, BrokerApiError)
    assert "refuses this user and password" in str(result.exception)
    assert "wrong-one" not in f"{result.output}{result.exception!r}"


# What the policies and rights are good for


@pytest.fixture(scope="module")
def strict(stack: Stack) -> Iterator[Site]:
    """Have callers who may write to the exchange for requests only."""
    with a_site(stack) as site:
        site.apply("--callers", "strict")
        site.management.put(site.at("queues", "replies-of-another"), {"durable": True})
        yield site


def test_a_strict_caller_draws_and_asks(strict: Site, database: Database) -> None:
    """All that the client does goes through the one exchange, that of the command line too."""
    with (
        Fleet(strict.url_of(strict.worker), database.url) as fleet,
        IdClient(strict.url_of(strict.caller), exchange=REQUESTS, timeout=30) as client,
    ):
        fleet.start()
        assert client.next_id("test_business") >= 1
        assert len(client.next_ids("test_business", 5)) == 5
        assert client.health().left > 0
        done = subprocess.run(
            [Path(sys.executable).with_name("idalloc"), "next", "test_business"],
            env={
                "PATH": os.environ["PATH"],
                "IDALLOC_AMQP_URL": strict.url_of(strict.caller),
                "IDALLOC_REQUEST_EXCHANGE": REQUESTS,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr


FORGED: dict[str, tuple[str, str]] = {
    "a bundle of an ordered tag": ("", "id.ordered.0"),
    "what workers remember": ("", "id.fleet.marks"),
    "the fleet": ("id.fleet", ""),
    "a request by the default exchange": ("", "id.alloc"),
    "dead letters": ("", "id.dead"),
    "somebody's replies": ("", "replies-of-another"),
}


@pytest.mark.parametrize(("exchange", "key"), FORGED.values(), ids=FORGED)
def test_a_strict_caller_writes_to_nothing_else(strict: Site, exchange: str, key: str) -> None:
    """The broker refuses it."""
    url = strict.url_of(strict.caller)
    with (
        closing(pika.BlockingConnection(pika.URLParameters(url))) as it,
        pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"),
    ):
        publish(it, exchange, key)


@pytest.mark.parametrize("key", ["id.ordered.0", MARKS_STREAM, "id.dead", ""])
def test_the_exchange_for_requests_leads_nowhere_else(strict: Site, key: str) -> None:
    """Whatever the routing key: also that of a sender's carbon copy."""
    url = strict.url_of(strict.caller)
    queues = ("id.ordered.0", "id.dead")  # a stream does not tell
    before = [counted(strict, queue) for queue in queues]
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as it:
        with pytest.raises(pika.exceptions.UnroutableError):
            publish(it, REQUESTS, key)
        publish(it, REQUESTS, "id.alloc", headers={"CC": [key], "BCC": [key]})
    assert [counted(strict, queue) for queue in queues] == before


def publish(connection: Any, exchange: str, key: str, **properties: Any) -> None:
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish(exchange, key, b"{}", pika.BasicProperties(**properties), mandatory=True)


def counted(site: Site, queue: str) -> int:
    """Tell how many messages a queue has, by the queue itself: statistics come late."""
    parts = urlsplit(site.stack.amqp_url)._replace(path=f"/{site.name}")
    with closing(pika.BlockingConnection(pika.URLParameters(parts.geturl()))) as it:
        found: int = it.channel().queue_declare(queue, passive=True).method.message_count
        return found


def test_a_missing_exchange_is_told_at_once(vhost: str) -> None:
    """Not when time is up."""
    with IdClient(vhost, exchange=REQUESTS, timeout=120) as client, pytest.raises(NoRouteError):
        client.next_id("test_business")


SMALL: dict[str, Callable[[Site], None]] = {
    "classic": lambda site: None,
    "quorum": lambda site: site.management.put(
        site.at("queues", "id.alloc"),
        {"durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}},
    ),
}


def refused(client: IdClient) -> IdAllocError:
    with pytest.raises(IdAllocError) as caught:
        client.next_id("test_business")
    return caught.value


@pytest.mark.copies
@pytest.mark.parametrize("prepare", SMALL.values(), ids=SMALL)
def test_a_full_queue_refuses_and_the_client_is_told(
    site: Site, database: Database, prepare: Callable[[Site], None]
) -> None:
    """Calls that have time left are served once there is room; the oldest requests are kept."""
    make_vhost(site)
    prepare(site)
    site.apply()
    shorten(site, 3)
    oldest = fill(site)
    with IdClient(site.url_of(site.caller), timeout=2.0) as client:
        refusal = refused(client)
        while not isinstance(refusal, BusyError):  # its connection was not there in time
            refusal = refused(client)
        assert refusal.retry_after is not None
        with Fleet(site.url_of(site.worker), database.url) as fleet:
            waiting = client.sequence("test_business")
            fleet.start(ready=False)
            assert client.next_id("test_business", timeout=60) >= oldest
            assert next(waiting) >= 1


def test_a_quorum_queue_gives_up_what_ends_its_consumers(site: Site) -> None:
    """A message that closes the connection of whoever gets it does so some times, not for ever."""
    make_vhost(site)
    SMALL["quorum"](site)
    site.apply()
    with closing(pika.BlockingConnection(pika.URLParameters(site.url_of(site.caller)))) as it:
        publish(it, "", "id.alloc")
    taken = 0
    deadline = time.monotonic() + 60
    while counted(site, "id.dead") == 0:
        assert time.monotonic() < deadline, taken
        with closing(pika.BlockingConnection(pika.URLParameters(site.url_of(site.worker)))) as it:
            method, _, _ = it.channel().basic_get("id.alloc")
            taken += method is not None
    assert 99 <= taken <= 102  # whether the first one counts differs between releases


UNREACHABLE = "mysql://idalloc:idalloc@127.0.0.1:1/id_alloc_db"
HAND_OVERS = 50


@pytest.mark.parametrize("prepare", SMALL.values(), ids=SMALL)
def test_a_request_that_is_handed_back_fifty_times_is_answered(
    site: Site, database: Database, prepare: Callable[[Site], None]
) -> None:
    """By rolling restarts; the last time by a worker that cannot answer and is told to stop."""
    make_vhost(site)
    prepare(site)
    site.apply()
    with closing(pika.BlockingConnection(pika.URLParameters(site.url_of(site.caller)))) as it:
        channel = it.channel()
        replies: list[dict[str, Any]] = []
        channel.basic_consume(
            REPLY_TO, lambda *given: replies.append(json.loads(given[3])), auto_ack=True
        )
        properties = pika.BasicProperties(reply_to=REPLY_TO, correlation_id="x")
        channel.basic_publish("", "id.alloc", b'{"app_tag":"test_business"}', properties)
        hand_back(site, HAND_OVERS - 1)
        with Fleet(site.url_of(site.worker), UNREACHABLE, {"IDALLOC_WAIT_TIMEOUT": "60"}) as old:
            (worker,) = old.start(ready=False)
            while counted(site, "id.alloc") or not worker.count_in_log("Serving"):
                it.process_data_events(0.05)
            assert worker.terminate() == 0
        assert counted(site, "id.alloc") == 1
        assert (counted(site, "id.dead"), replies) == (0, [])
        with Fleet(site.url_of(site.worker), database.url) as new:
            new.start(ready=False)
            deadline = time.monotonic() + PATIENCE
            while not replies:
                assert time.monotonic() < deadline
                it.process_data_events(0.1)
    assert replies[0]["resp_code"] == 0, replies


def hand_back(site: Site, times: int) -> None:
    """Do with a request what workers do that stop."""
    with closing(pika.BlockingConnection(pika.URLParameters(site.url_of(site.worker)))) as it:
        channel = it.channel()
        while times:
            method, _, _ = channel.basic_get("id.alloc")
            if method is not None:
                channel.basic_reject(method.delivery_tag, requeue=True)
                times -= 1


def make_vhost(site: Site) -> None:
    """Make the virtual host, and let the tests' own user in."""
    site.management.put(f"/api/vhosts/{site.name}", {})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    site.management.put(site.at("permissions", site.management.user), everything)


def shorten(site: Site, length: int) -> None:
    """Make the policies of the queue for requests as strict as a test can wait for."""
    for policy in site.management.get(f"/api/policies/{site.name}"):
        if policy["name"].startswith("idalloc-requests"):
            policy["definition"]["max-length"] = length
            site.management.put(site.at("policies", policy["name"]), policy)


def fill(site: Site) -> int:
    """Send until the queue refuses; return how many it took."""
    with closing(pika.BlockingConnection(pika.URLParameters(site.url_of(site.caller)))) as it:
        channel = it.channel()
        channel.confirm_delivery()
        channel.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)
        properties = pika.BasicProperties(reply_to=REPLY_TO, correlation_id="x")
        for sent in range(1000):
            try:
                channel.basic_publish("", "id.alloc", b'{"app_tag":"test_business"}', properties)
            except pika.exceptions.NackError:
                return sent
    pytest.fail("it never refused")


def test_the_defaults_are_for_a_virtual_host_of_its_own() -> None:
    """Where callers may write to the default exchange, there are no queues of others."""
    assert Broker().vhost == "idalloc"
