"""What is shipped for Prometheus and Grafana: complete, and about metrics that exist."""

import re

import pytest
import yaml

from tests.queries import (
    ALERT_TESTS,
    ALERTS,
    RABBITMQ_ALERTS,
    ROOT,
    alerts,
    dashboard,
    dashboard_queries,
    panels,
)

RULES = [*alerts(ALERTS), *alerts(RABBITMQ_ALERTS)]
PAGE = ROOT / "docs/monitoring.md"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    """Each has a severity, how long it lasts before it fires, a summary and a description."""
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"\d+m", str(rule["for"]))
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["description"]) > 80


def test_each_alert_is_tested() -> None:
    """The file for promtool has a test named after each."""
    tests = yaml.safe_load(ALERT_TESTS.read_text("utf-8"))["tests"]
    tested = {test["name"].partition(":")[0] for test in tests}
    assert {rule["alert"] for rule in RULES} <= tested


def test_each_alert_is_in_the_documentation() -> None:
    """An operator finds what woke them."""
    page = PAGE.read_text("utf-8")
    assert {rule["alert"] for rule in RULES} == set(
        re.findall(r"^\| `(Idalloc\w+)`", page, re.MULTILINE)
    )


def test_the_dashboard_has_its_rows_and_variables() -> None:
    """Overview, tags, database, broker; and a data source, job, worker and tag to choose."""
    shown = dashboard()
    rows = [panel["title"] for panel in shown["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Tags", "Database", "Broker"]
    variables = [variable["name"] for variable in shown["templating"]["list"]]
    assert variables == ["datasource", "job", "instance", "tag"]
    assert "id" not in shown, "an id of one Grafana would overwrite a dashboard of another"
    used = {name for query in dashboard_queries() for name in re.findall(r"\$(\w+)", query.text)}
    assert used <= {*variables, "__rate_interval", "__range"}


def test_panels_do_not_overlap() -> None:
    """Each has a place of its own within the 24 columns, a unit and a description."""
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(numbers) == len(set(numbers))
