"""The dashboard and the alerts against real workers, a real RabbitMQ and a real Prometheus.

Prometheus and promtool are used where they can be had: on the PATH, or in the folder that
IDALLOC_TEST_PROMETHEUS names. `.ci/prometheus` puts them there.
"""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from devstack import Database, PrivateRabbitMq, private_rabbitmq
from devstack.servers import _rabbitmq
from devstack.servers._ports import free_port
from devstack.workers import PATIENCE, Fleet, blocking_connection, end_with_parent
from idalloc_client import BusyError, IdAllocError, IdClient
from tests.integration.test_worker_settings import add
from tests.queries import (
    ALERT_TESTS,
    ALERTS,
    RABBITMQ_ALERTS,
    Query,
    alert_queries,
    alerts,
    dashboard_queries,
    filled_in,
)
from tests.scrapes import Scrape, parse, scrape, scrape_until

ADDED_BY_PROMETHEUS = {"job", "instance"}
SEARCHED = os.pathsep.join(
    [os.environ.get("IDALLOC_TEST_PROMETHEUS", ""), os.environ.get("PATH", os.defpath)]
)
PROMTOOL = shutil.which("promtool", path=SEARCHED)
PROMETHEUS = shutil.which("prometheus", path=SEARCHED)

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool on the PATH or in IDALLOC_TEST_PROMETHEUS"
)
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None, reason="no prometheus on the PATH or in IDALLOC_TEST_PROMETHEUS"
)


def problems(query: Query, metrics: Scrape) -> Iterator[str]:
    """Name each metric, label and value of a query that is not there."""
    present: set[str] = set(ADDED_BY_PROMETHEUS)
    for name, matchers in query.selectors:
        found = metrics.find(name)
        if not found:
            yield f"{query.where}: there is no {name}"
            continue
        labels = set(found[0].labels)
        present |= labels
        for label, operator, value in matchers:
            if label not in labels | ADDED_BY_PROMETHEUS:
                yield f"{query.where}: {name} has no label {label}"
            elif "$" not in value and label not in ADDED_BY_PROMETHEUS:
                values = {sample.labels[label] for sample in found}
                for wanted in alternatives(value) if operator.endswith("~") else [value]:
                    if not any(re.fullmatch(wanted, it) for it in values):
                        yield f"{query.where}: {name} has no {label} {wanted}"
    for label in query.grouped_by - present:
        yield f"{query.where}: nothing has the label {label}"


def alternatives(pattern: str) -> list[str]:
    """Take an alternation apart; groups are left alone."""
    plain = pattern.replace("\\\\", "\\")
    return [plain] if "(" in plain else plain.split("|")


@pytest.fixture
def port(fleet: Fleet, database: Database) -> int:
    """Have a worker whose metrics show every kind of thing, good and bad."""
    port = free_port()
    fleet.start(metrics_port=port, processes=2)
    with IdClient(fleet.amqp_url, retry=False) as ids:
        for _ in range(100):
            ids.next_id("test_business")
        with pytest.raises(IdAllocError):
            ids.next_id("nobody")
        add(database, 10, max_count=500, user_rate=1)
        with pytest.raises(BusyError):
            draw_too_much(ids)
    scrape_until(port, lambda it: len(it.find("idalloc_tag_cover_seconds")) >= 2)
    return port


def draw_too_much(ids: IdClient) -> None:
    for _ in range(10):  # each process counts by itself
        ids.next_ids("order", 500)


def test_what_is_asked_for_exists(port: int) -> None:
    """Each metric, label and value in the dashboard and the alerts is one that workers expose."""
    metrics = scrape(port)
    queries = [*alert_queries(ALERTS), *dashboard_queries()]
    about_workers = [query for query in queries if "rabbitmq_" not in query.text]
    assert len(about_workers) > 50
    assert not [problem for query in about_workers for problem in problems(query, metrics)]


def test_labels_in_texts_exist(port: int) -> None:
    """What an alert says about its labels is not left blank."""
    metrics = scrape(port)
    for rule in alerts(ALERTS):
        query = Query(rule["alert"], rule["expr"])
        labels = query.grouped_by or {
            label for name, _ in query.selectors for label in metrics.find(name)[0].labels
        }
        used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        allowed = labels if query.grouped_by else labels | ADDED_BY_PROMETHEUS
        assert used <= allowed, rule["alert"]


def test_rabbitmq_exposes_what_its_alerts_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin's own names, at the address and with the families of prometheus.yml."""
    private_rabbitmq()  # installs it where needed
    monkeypatch.setattr(_rabbitmq, "PLUGINS", (*_rabbitmq.PLUGINS, "rabbitmq_prometheus"))
    port = free_port()
    listen = f"\nprometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n"
    config = yaml.safe_load(ALERTS.with_name("prometheus.yml").read_text("utf-8"))
    (job,) = [it for it in config["scrape_configs"] if it["job_name"] == "rabbitmq"]
    url = f"http://127.0.0.1:{port}{job['metrics_path']}?{urlencode(job['params'], doseq=True)}"
    with PrivateRabbitMq(config=listen) as broker:
        with blocking_connection(broker.url) as connection:
            for queue in ("id.alloc", "id.health", "id.dead"):
                connection.channel().queue_declare(queue, durable=True)
        queries = [
            *alert_queries(RABBITMQ_ALERTS),
            *(query for query in dashboard_queries() if "rabbitmq_" in query.text),
        ]
        deadline = time.monotonic() + PATIENCE
        while True:  # the broker's statistics come a few seconds late
            with urlopen(url, timeout=PATIENCE) as answer:
                metrics = parse(answer.read().decode())
            missing = [problem for query in queries for problem in problems(query, metrics)]
            if not missing:
                return
            assert time.monotonic() < deadline, missing
            time.sleep(0.2)


def run_promtool(*arguments: str | Path) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_configuration_is_valid() -> None:
    """The example, with both files of rules that it names."""
    said = run_promtool("check", "config", ALERTS.with_name("prometheus.yml"))
    assert "2 rule files found" in said
    run_promtool("check", "rules", ALERTS, RABBITMQ_ALERTS)


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    """Each is quiet while all is well, and fires when what it is about begins."""
    run_promtool("test", "rules", ALERT_TESTS)


@needs_promtool
def test_the_queries_of_the_dashboard_parse(tmp_path: Path) -> None:
    """As PromQL, with Grafana's variables filled in."""
    rules = [
        {"record": f"query:{number}", "expr": filled_in(query.text)}
        for number, query in enumerate(dashboard_queries())
        if not query.where.startswith("variable")
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run_promtool("check", "rules", file)


@needs_prometheus
def test_prometheus_reads_a_worker_and_answers_the_dashboard(port: int, tmp_path: Path) -> None:
    """Every query gives a result that a panel can show, if it does not leave out what is 0."""
    assert PROMETHEUS is not None
    config = tmp_path / "prometheus.yml"
    targets = {"job_name": "idalloc", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(ALERTS)],
                "scrape_configs": [targets],
            }
        )
    )
    address = f"127.0.0.1:{free_port()}"
    command = [PROMETHEUS, f"--config.file={config}", f"--web.listen-address={address}"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, f"--storage.tsdb.path={tmp_path / 'data'}"],
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
        )
    try:
        wanted = [
            query
            for query in dashboard_queries()
            if "rabbitmq_" not in query.text
            and "> 0" not in query.text
            and not query.where.startswith("variable")
        ]
        wait_for_answers(address, wanted, tmp_path / "log")
    finally:
        server.kill()
        server.wait()


def wait_for_answers(address: str, queries: list[Query], log: Path) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while True:
        silent = [query for query in queries if not ask(address, filled_in(query.text))]
        if not silent:
            return
        assert time.monotonic() < deadline, (silent, log.read_text()[-2000:])
        time.sleep(0.5)


def ask(address: str, query: str) -> list[Any]:
    """Run a query; nothing while Prometheus is about to start."""
    url = f"http://{address}/api/v1/query?{urlencode({'query': query})}"
    try:
        with urlopen(url, timeout=PATIENCE) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it reads its log of data
            return []
        raise AssertionError(f"{query}: {error.read().decode()}") from error
    except urllib.error.URLError:
        return []
