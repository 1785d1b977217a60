"""The files that operators start from: complete, consistent, and true on a real RabbitMQ."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pika
import pika.exceptions
import pytest
import yaml
from pika.adapters.blocking_connection import BlockingChannel

from devstack import (
    Database,
    Management,
    PrivateRabbitMq,
    Stack,
    private_rabbitmq,
    scratch_vhost,
)
from devstack.workers import Fleet
from idalloc_client.amqp import connection_parameters
from idalloc_schemas import FLEET_EXCHANGE, FLEET_HEALTH_EXCHANGE, MARKS_STREAM
from idalloc_worker.broker_setup._password import hashed
from idalloc_worker.health._fleet_calls import QUEUE_ARGUMENTS as HEALTH_QUEUE_ARGUMENTS
from idalloc_worker.marks._marks_stream import STREAM_ARGUMENTS
from idalloc_worker.mysql._trust import may_have_password
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.tags._partitions import QUEUE_ARGUMENTS
from idalloc_worker.tags._partitions import QUEUES as ORDERED_QUEUES

ROOT = Path(__file__).resolve().parents[2]
DEFINITIONS = ROOT / "deploy/rabbitmq/definitions.json"
REPLY_TO = "amq.rabbitmq.reply-to"
PATIENCE = 120.0
PASSWORD = secrets.token_hex(8)


def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return parsed


def example_env() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def definitions() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(DEFINITIONS.read_text("utf-8"))
    return parsed


def test_compose_runs_two_workers_and_both_servers_with_health_checks() -> None:
    """A worker starts when both servers are healthy, and says itself whether it is."""
    services = compose()["services"]
    always = {name for name, service in services.items() if "profiles" not in service}
    assert always == {"rabbitmq", "mysql", "setup", "worker"}
    last = {"setup", "admin"}  # they do one thing and end
    assert all(it["healthcheck"]["test"] for name, it in services.items() if name not in last)
    assert services["worker"]["deploy"]["replicas"] == 2
    conditions = {name: it["condition"] for name, it in services["worker"]["depends_on"].items()}
    assert conditions == {
        "rabbitmq": "service_healthy",
        "mysql": "service_healthy",
        "setup": "service_completed_successfully",
    }


def test_a_worker_is_asked_for_its_own_health() -> None:
    """By what costs little, at the file that its image names: on the one writable place there."""
    worker = compose()["services"]["worker"]
    assert worker["healthcheck"]["test"] == ["CMD", "idalloc", "worker", "--probe", "ready"]
    assert worker["read_only"] is True
    assert "IDALLOC_PROBE_FILE=/dev/shm/" in (ROOT / "Dockerfile").read_text("utf-8")


def test_monitoring_comes_only_when_asked_for() -> None:
    """Prometheus reads the workers at the port that they are told to open."""
    services = compose()["services"]
    optional = {name for name, it in services.items() if it.get("profiles") == ["monitoring"]}
    assert optional == {"prometheus", "grafana"}
    worker = services["worker"]
    port = worker["environment"]["IDALLOC_METRICS_PORT"]
    assert worker["expose"] == [port]
    prometheus = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    (job,) = [it for it in prometheus["scrape_configs"] if it["job_name"] == "idalloc"]
    (discovery,) = job["dns_sd_configs"]
    assert (discovery["names"], discovery["port"]) == (["worker"], int(port))


def test_compose_mounts_files_that_exist() -> None:
    """Docker would make an empty folder of a file that is not there."""
    mounts = [
        mount.split(":")[0]
        for service in compose()["services"].values()
        for mount in service.get("volumes", [])
    ]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert {Path(file).name for file in files} >= {"schema.sql", "users.sh", "grants.sql"}
    assert all((ROOT / file).is_file() for file in files)
    named = {mount for mount in mounts if not mount.startswith("./")}
    assert named == set(compose()["volumes"])


def test_nothing_is_published_beyond_this_machine() -> None:
    """What is tried out on a machine must not be reachable from outside."""
    ports = [
        port for service in compose()["services"].values() for port in service.get("ports", [])
    ]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_service_may_log_in_to_a_database_that_just_started() -> None:
    """MySQL asks for the password itself then, and what it says of itself proves nothing here."""
    services = compose()["services"].values()
    urls = [it.get("environment", {}).get("IDALLOC_MYSQL_URL") for it in services]
    addresses = [MySqlAddress.parse(re.sub(r"\$\{.*?\}", "x", url)) for url in urls if url]
    assert {address.user for address in addresses} == {"idalloc", "idalloc-operator"}
    with socket.socket() as remote:  # whose peer is not this machine
        assert all(may_have_password(address, remote) for address in addresses)


def test_compose_of_a_cluster_is_about_the_nodes_that_it_runs() -> None:
    """Workers name them all, each has the settings of a cluster, and what is mounted exists."""
    cluster = yaml.safe_load((ROOT / "deploy/docker-compose.cluster.yml").read_text("utf-8"))
    nodes = [name for name in cluster["services"] if name.startswith("rabbitmq")]
    environment = cluster["services"]["worker"]["environment"]
    url = re.sub(r"\$\{.*?\}", "x", environment["IDALLOC_AMQP_URL"])
    assert [broker.host for broker in connection_parameters(url, "")] == nodes
    settings = (ROOT / "deploy/rabbitmq/cluster.conf").read_text("utf-8")
    assert re.findall(r"rabbit@(\w+)$", settings, re.MULTILINE) == nodes
    for name in nodes:
        mounted = [it.split(":")[0] for it in cluster["services"][name]["volumes"]]
        assert "./deploy/rabbitmq/cluster.conf" in mounted
        assert all((ROOT / it).exists() for it in mounted if it.startswith("."))
        assert "RABBITMQ_ERLANG_COOKIE" in cluster["services"][name]["environment"]
    command = cluster["services"]["setup"]["command"]
    assert {*compose()["services"]["setup"]["command"], "--quorum", "--local"} == set(command)


def test_the_example_covers_every_variable() -> None:
    """A password for each line of .env.example is all that a first start needs."""
    files = (ROOT / "docker-compose.yml", ROOT / "deploy/docker-compose.cluster.yml")
    text = "".join(file.read_text("utf-8") for file in files)
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert used
    assert used == set(example_env())


def test_no_password_is_published() -> None:
    """Compose does not start without passwords of one's own, and the definitions have none."""
    assert set(example_env().values()) == {""}
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert set(re.findall(r"(?<!\$)\$\{\w+(..)", text)) == {":?"}
    users = definitions()["users"]
    assert {user["password_hash"] for user in users} == {""}
    assert not [user for user in users if "password" in user]


def test_the_example_says_what_each_user_may() -> None:
    """Every queue and exchange that its rights name, and nothing that denies one."""
    text = (ROOT / ".env.example").read_text("utf-8")
    told = dict(re.findall(r"# RabbitMQ's user (\S+): (.*?)\nIDALLOC_", text, re.DOTALL))
    rights = {each["user"]: each for each in definitions()["permissions"]}
    assert set(told) == set(rights)
    assert "id.ordered.*" in told["idalloc-worker"]
    for user, words in told.items():
        patterns = "".join(rights[user][kind] for kind in ("configure", "write", "read"))
        plain = patterns.replace("\\", "")
        names = ("alloc", "health", "fleet", "local", "ordered", "requests")
        for name in (f"id.{name}" for name in names if name in plain):
            assert name in words, f"{user} has rights on {name}"


def test_new_env_makes_a_password_for_each_user(tmp_path: Path) -> None:
    """Each is another one, nobody else may read the file, and one that is there stays."""
    (tmp_path / "deploy").mkdir()
    for name in (".env.example", "deploy/new-env.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    script = [tmp_path / "deploy/new-env.sh"]
    subprocess.run(script, check=True, timeout=60)
    made = tmp_path / ".env"
    text = made.read_text("utf-8")
    values = [line.partition("=")[2] for line in text.splitlines() if line[:1].isupper()]
    assert len(set(values)) == len(values) == len(example_env())
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32,}", value) for value in values)
    assert made.stat().st_mode & 0o077 == 0
    again = subprocess.run(script, capture_output=True, timeout=60, check=False)
    assert again.returncode != 0
    assert made.read_text("utf-8") == text


def test_the_dockerfile_copies_what_the_build_context_has() -> None:
    """Each source exists, and .dockerignore lets it through."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    sources = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_runs_the_worker_without_root() -> None:
    """The entry point is a process of its own, not a shell that swallows SIGTERM."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    final = dockerfile.rpartition("\nFROM ")[2]
    assert 'ENTRYPOINT ["idalloc"]' in final
    assert 'CMD ["worker"]' in final
    assert re.search(r"^USER [1-9]\d*:", final, re.MULTILINE)


QUEUES = {"id.alloc", "id.health", "id.dead", MARKS_STREAM, *ORDERED_QUEUES}


def test_queues_have_no_arguments_but_those_that_the_worker_declares() -> None:
    """Limits are policies, which can be changed without deleting a queue.

    Not so the stream's, which would grow for ever where somebody forgot the policy.
    """
    queues = {queue["name"]: queue for queue in definitions()["queues"]}
    assert set(queues) == QUEUES
    assert all(queue["durable"] for queue in queues.values())
    for name, queue in queues.items():
        own = {MARKS_STREAM: STREAM_ARGUMENTS, **dict.fromkeys(ORDERED_QUEUES, QUEUE_ARGUMENTS)}
        assert queue["arguments"] == own.get(name, {})
    bindings = {(each["source"], each["destination"]) for each in definitions()["bindings"]}
    requests = {("id.requests", "id.alloc"), ("id.requests", "id.health")}
    assert bindings == {(FLEET_EXCHANGE, MARKS_STREAM), *requests}


@pytest.mark.long
def test_rabbitmq_starts_from_the_shipped_file() -> None:
    """Compose's operator logs in to a broker with that configuration, and sets it up."""
    config = (ROOT / "deploy/rabbitmq/rabbitmq.conf").read_text("utf-8")
    private_rabbitmq()  # installs it where needed
    password = secrets.token_hex(8)
    with PrivateRabbitMq(config=config, user="operator", password=password) as broker:
        management = Management(broker.management_url)
        done = set_up(broker.management_url, password, *compose()["services"]["setup"]["command"])
        assert "created virtual host idalloc" in done
        users = {user["name"] for user in management.get("/api/users")}
        assert users == {"operator", "idalloc-worker", "idalloc-caller"}
        queues = {queue["name"] for queue in management.get("/api/queues/idalloc")}
        assert queues == QUEUES


def set_up(management_url: str, password: str, *command: str) -> str:
    """Run what Compose's service `setup` runs, against another broker."""
    parts = urlsplit(management_url)
    url = f"http://{parts.username}@{parts.netloc.rpartition('@')[2]}"
    arguments = [url if "rabbitmq:15672" in word else word for word in command]
    done = subprocess.run(
        [Path(sys.executable).with_name("idalloc"), *arguments],
        env={**os.environ, "IDALLOC_BROKER_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Site:
    """The definitions, imported under other names into the broker that all tests share."""

    management: Management
    vhost: str
    amqp_url: str
    suffix: str

    def url_of(self, user: str) -> str:
        """Return the URL by which one of the definitions' users logs in."""
        parts = urlsplit(self.amqp_url)
        address = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=f"{user}{self.suffix}:{PASSWORD}@{address}").geturl()

    def state_of(self, queue: str) -> dict[str, Any]:
        """Return what the management API says, once its statistics know the new queue."""
        deadline = time.monotonic() + PATIENCE
        while True:
            state: dict[str, Any] = self.management.get(f"/api/queues/{self.vhost}/{queue}")
            if "policy" in state:
                return state
            assert time.monotonic() < deadline, state
            time.sleep(0.1)


@pytest.fixture(scope="module")
def site(stack: Stack) -> Iterator[Site]:
    """Import the shipped definitions for the vhost and the users of this test run."""
    suffix = f"-{secrets.token_hex(4)}"
    vhost = f"idalloc-deploy{suffix}"
    management = Management(stack.management_url)
    with scratch_vhost(stack.amqp_url, stack.management_url, vhost) as url:
        management.post("/api/definitions", renamed(definitions(), vhost, suffix))
        yield Site(management, vhost, url, suffix)
    for user in definitions()["users"]:
        management.delete(f"/api/users/{quote(user['name'] + suffix)}")


def renamed(shipped: dict[str, Any], vhost: str, suffix: str) -> dict[str, Any]:
    """Return the definitions for another vhost and for users that nobody else has."""
    for entries in shipped.values():
        for entry in entries:
            if "vhost" in entry:
                entry["vhost"] = vhost
            if "user" in entry:
                entry["user"] += suffix
    for user in shipped["users"]:
        user["name"] += suffix
        user["password_hash"] = hashed(PASSWORD)
    return {**shipped, "vhosts": [{"name": vhost}]}


@pytest.fixture
def worker(site: Site) -> Iterator[BlockingChannel]:
    with closing(pika.BlockingConnection(pika.URLParameters(site.url_of("idalloc-worker")))) as it:
        yield it.channel()


@pytest.fixture
def caller(site: Site) -> Iterator[BlockingChannel]:
    with closing(pika.BlockingConnection(pika.URLParameters(site.url_of("idalloc-caller")))) as it:
        yield it.channel()


def consume(channel: BlockingChannel, queue: str, *, no_ack: bool = False) -> list[Any]:
    """Consume and return the list to which each message is added, as (method, properties, body)."""
    got: list[Any] = []
    channel.basic_consume(queue, lambda _, *message: got.append(message), auto_ack=no_ack)
    return got


def wait_for(connection: pika.BlockingConnection, condition: Callable[[], object]) -> None:
    """Let a connection work until the condition holds."""
    for _ in range(int(PATIENCE * 20)):
        if condition():
            return
        connection.process_data_events(time_limit=0.05)
    pytest.fail("it did not happen")


def request(caller: BlockingChannel, body: bytes) -> None:
    properties = pika.BasicProperties(reply_to=REPLY_TO, correlation_id="7", expiration="20000")
    caller.basic_publish("", "id.alloc", body, properties, mandatory=True)


@pytest.mark.parametrize("queue", ["id.alloc", "id.health"])
def test_the_policy_for_requests_is_in_force(site: Site, queue: str) -> None:
    """Dead-lettering and limits apply to the queues as they are declared, without arguments."""
    state = site.state_of(queue)
    assert state["policy"] == {"id.alloc": "idalloc-requests"}.get(queue, "idalloc-health")
    assert state["durable"]
    assert not state["arguments"].keys() - {"x-queue-type"}
    limits = state["effective_policy_definition"]
    assert limits["dead-letter-routing-key"] == "id.dead"
    assert limits["overflow"] == "reject-publish"
    assert {"max-length", "max-length-bytes", "message-ttl"} <= limits.keys()


@pytest.mark.parametrize("queue", ORDERED_QUEUES)
def test_the_policy_for_ordered_requests_is_in_force(site: Site, queue: str) -> None:
    """A queue that is full refuses requests, so that their callers are told."""
    state = site.state_of(queue)
    assert state["policy"] == "idalloc-ordered"
    assert state["arguments"]["x-single-active-consumer"] is True
    limits = state["effective_policy_definition"]
    assert limits["overflow"] == "reject-publish"
    assert limits["max-length"] > 0
    assert limits["message-ttl"] > 0


def test_the_dead_letter_queue_is_bounded(site: Site) -> None:
    """What nobody reads must not fill the broker."""
    state = site.state_of("id.dead")
    assert state["policy"] == "idalloc-dead"
    assert {"max-length", "max-length-bytes"} <= state["effective_policy_definition"].keys()
    assert "dead-letter-exchange" not in state["effective_policy_definition"]


def test_a_caller_gets_its_answer(worker: BlockingChannel, caller: BlockingChannel) -> None:
    """Request, direct reply-to and reply need no more rights than these two users have."""
    requests = consume(worker, "id.alloc")
    replies = consume(caller, REPLY_TO, no_ack=True)
    request(caller, b'{"app_tag":"order"}')
    wait_for(worker.connection, lambda: requests)
    method, properties, body = requests[0]
    assert body == b'{"app_tag":"order"}'
    answer = pika.BasicProperties(correlation_id=properties.correlation_id)
    worker.basic_publish("", properties.reply_to, b'{"resp_code":0}', answer)
    worker.basic_ack(method.delivery_tag)
    wait_for(caller.connection, lambda: replies)
    assert replies[0][1].correlation_id == "7"
    assert replies[0][2] == b'{"resp_code":0}'


def test_a_rejected_request_is_dead_lettered(
    site: Site, worker: BlockingChannel, caller: BlockingChannel
) -> None:
    """The worker needs no right on the queue for dead letters to put one there."""
    requests = consume(worker, "id.alloc")
    caller.basic_publish("", "id.alloc", b"no way to answer this")
    wait_for(worker.connection, lambda: requests)
    worker.basic_reject(requests[0][0].delivery_tag, requeue=False)
    with closing(pika.BlockingConnection(pika.URLParameters(site.amqp_url))) as operator:
        dead = consume(operator.channel(), "id.dead", no_ack=True)
        wait_for(operator, lambda: dead)
    assert dead[0][2] == b"no way to answer this"


@pytest.mark.parametrize("queue", ["id.health", *ORDERED_QUEUES])
def test_the_worker_may_consume_the_other_queues_too(worker: BlockingChannel, queue: str) -> None:
    """Both of the contract's queues are the worker's, and those that workers use by themselves."""
    assert consume(worker, queue) == []


def test_workers_may_speak_to_each_other(worker: BlockingChannel) -> None:
    """A queue of one's own under the fleet's name, bound to the exchange that is there."""
    worker.queue_declare("id.fleet.one", exclusive=True, auto_delete=True)
    worker.queue_bind("id.fleet.one", "id.fleet")
    heard = consume(worker, "id.fleet.one", no_ack=True)
    worker.basic_publish("id.fleet", "", b"to all")
    worker.basic_publish("", "id.fleet.one", b"to oneself")
    wait_for(worker.connection, lambda: len(heard) == 2)


def test_questions_to_the_whole_fleet_have_an_exchange_and_limits(worker: BlockingChannel) -> None:
    """It is there; and the fleet's policy does not widen the limits that the queue declares."""
    arguments: dict[str, Any] = {**HEALTH_QUEUE_ARGUMENTS, "x-message-ttl": 60_000}
    most = arguments["x-max-length"]
    queue = f"{FLEET_HEALTH_EXCHANGE}.one"
    worker.queue_declare(queue, exclusive=True, auto_delete=True, arguments=arguments)
    worker.queue_bind(queue, FLEET_HEALTH_EXCHANGE)
    worker.confirm_delivery()
    for _ in range(most + 50):
        worker.basic_publish(FLEET_HEALTH_EXCHANGE, "", b"how are you?")
    assert worker.queue_declare(queue, passive=True).method.message_count == most


def test_a_worker_is_protected_with_these_rights(site: Site, database: Database) -> None:
    """What the product does with the shipped user and exchange is what they are shipped for."""
    with Fleet(site.url_of("idalloc-worker"), database.url) as fleet:
        (running,) = fleet.start(ready=False)
        running.wait_for_log("Serving")
        assert "not protected" not in running.tail()
        assert "does not keep the marks" not in running.tail()


def publish_elsewhere(channel: BlockingChannel, exchange: str = "amq.topic") -> None:
    channel.confirm_delivery()  # else the refusal is noticed only later
    channel.basic_publish(exchange, "x", b"y")


FORBIDDEN: dict[str, Callable[[BlockingChannel], object]] = {
    "declare a queue": lambda channel: channel.queue_declare("id.other", durable=True),
    "declare the queue that is there": lambda channel: channel.queue_declare(
        "id.alloc", durable=True
    ),
    "declare an exchange": lambda channel: channel.exchange_declare("id.other", "fanout"),
    "declare the fleet's exchange": lambda channel: channel.exchange_declare(
        "id.fleet", "fanout", durable=True
    ),
    "delete the fleet's exchange": lambda channel: channel.exchange_delete("id.fleet"),
    "declare an exclusive queue": lambda channel: channel.queue_declare("", exclusive=True),
    "delete a queue": lambda channel: channel.queue_delete("id.alloc"),
    "purge the dead letters": lambda channel: channel.queue_purge("id.dead"),
    "consume the dead letters": lambda channel: channel.basic_consume("id.dead", print),
    "bind a queue": lambda channel: channel.queue_bind("id.alloc", "amq.topic", "#"),
    "publish to another exchange": publish_elsewhere,
}
FORBIDDEN_TO_CALLERS: dict[str, Callable[[BlockingChannel], object]] = {
    "listen to the workers": lambda channel: channel.queue_declare("id.fleet.x", exclusive=True),
    "speak to the workers": lambda channel: publish_elsewhere(channel, "id.fleet"),
    "consume requests": lambda channel: channel.basic_consume("id.alloc", print),
    "consume ordered requests": lambda channel: channel.basic_consume("id.ordered.0", print),
    "take one request": lambda channel: channel.basic_get("id.alloc"),
    "purge requests": lambda channel: channel.queue_purge("id.alloc"),
}


@pytest.mark.parametrize("act", FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_worker_may_do_nothing_else(
    worker: BlockingChannel, act: Callable[[BlockingChannel], object]
) -> None:
    """Each attempt is refused by the broker (403)."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
        act(worker)


@pytest.mark.parametrize(
    "act",
    (FORBIDDEN | FORBIDDEN_TO_CALLERS).values(),
    ids=FORBIDDEN | FORBIDDEN_TO_CALLERS,
)
def test_a_caller_may_do_nothing_else(
    caller: BlockingChannel, act: Callable[[BlockingChannel], object]
) -> None:
    """Each attempt is refused by the broker (403)."""
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
        act(caller)
