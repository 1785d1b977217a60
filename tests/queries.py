"""Reads what Grafana's dashboard and Prometheus's rules ask for, for tests."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DASHBOARD = ROOT / "deploy/grafana/idalloc.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
RABBITMQ_ALERTS = ROOT / "deploy/prometheus/alerts-rabbitmq.yml"
ALERT_TESTS = ROOT / "tests/prometheus/alerts_test.yml"

_SELECTOR = re.compile(r"\b((?:idalloc|rabbitmq)_\w+)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_GROUPING = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Query:
    """A query in PromQL, and where it stands."""

    where: str
    text: str

    @property
    def selectors(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """Each metric that is asked for, with its matchers: label, operator, value."""
        return [(name, _MATCHER.findall(inside)) for name, inside in _SELECTOR.findall(self.text)]

    @property
    def grouped_by(self) -> set[str]:
        lists = _GROUPING.findall(self.text)
        return {label.strip() for labels in lists for label in labels.split(",")}


def alerts(file: Path) -> list[dict[str, Any]]:
    parsed = yaml.safe_load(file.read_text("utf-8"))
    return [rule for group in parsed["groups"] for rule in group["rules"]]


def alert_queries(file: Path) -> list[Query]:
    return [Query(rule["alert"], rule["expr"]) for rule in alerts(file)]


def dashboard() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return parsed


def panels() -> list[dict[str, Any]]:
    """List the panels that show something; the rest are headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_queries() -> Iterator[Query]:
    """Give the dashboard's queries, its variables' too, with their Grafana variables."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"])
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(f"variable {variable['name']}", variable["query"]["query"])


def filled_in(query: str) -> str:
    """Put values in the place of Grafana's variables."""
    for name, value in (("__rate_interval", "30s"), ("__range", "1h")):
        query = query.replace(f"${name}", value)
    return re.sub(r"\$(job|instance|tag)\b", ".*", query)
