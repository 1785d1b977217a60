"""Each counter is everywhere where counters are: counted, in health, in metrics, in the docs."""

import pytest

from idalloc_worker.counters._counters import REFILL_FAILURES, Counters
from idalloc_worker.counters._registry import REFUSED, Event, Outcome
from idalloc_worker.metrics._collector import families
from idalloc_worker.metrics._sources import ProcessState
from tests.doc_tables import ROOT, plain, rows, says
from tests.unit.metrics.test_metrics import known, snapshot

COUNTERS = (*Event, *Outcome)
PAGE = "docs/monitoring.md"
WORKER = ROOT / "worker/idalloc_worker"
SOURCE = "".join(path.read_text() for path in WORKER.rglob("*.py") if path.name != "_registry.py")
FAMILIES = {family.name: family for family in families([ProcessState(1, snapshot(known("a", 5)))])}


def test_no_two_counters_share_a_name() -> None:
    """Health shows all of them in one object."""
    assert len({*COUNTERS}) == len(COUNTERS) == len(Counters().for_health())


@pytest.mark.parametrize("counter", COUNTERS)
def test_a_counter_is_counted(counter: Event | Outcome) -> None:
    """None stays at 0 because nobody counts it; codes are counted as what was answered."""
    assert counter in REFUSED.values() or f"{type(counter).__name__}.{counter.name}" in SOURCE


@pytest.mark.parametrize("event", [event for event in Event if event.metric])
def test_an_event_has_its_metric(event: Event) -> None:
    """With the same sentence, and from 0 on."""
    family = FAMILIES[f"idalloc_{event.metric}"]
    assert (family.type, family.documentation) == ("counter", event.help)
    assert [sample.value for sample in family.samples] == [0]


def test_the_operators_page_has_all_counters() -> None:
    """The table of what health shows has each of them, and what it counts."""
    told = rows("docs/health.md", "counter")
    assert [plain(name) for name, _ in told] == [*COUNTERS]
    for (_, cell), counter in zip(told, COUNTERS, strict=True):
        assert says(cell, counter.help), f"{cell!r} does not begin with {counter.help!r}"


def test_the_page_on_metrics_has_all_of_them() -> None:
    """The tables have each metric as it is exposed, its labels and what it means, and no other."""
    told = {plain(name).removesuffix("_total"): cells for name, *cells in rows(PAGE, "metric")}
    told = {name: cells for name, cells in told.items() if name.startswith("idalloc_")}
    assert {*told} == {*FAMILIES}
    for name, family in FAMILIES.items():
        labels, meaning = told[name]
        there = {*vars(family)["_labelnames"]} - {"process"}
        there |= {"le"} if family.type == "histogram" else set()
        assert there == {*plain(labels).replace(",", "").split()}, name
        assert says(meaning, family.documentation), f"{meaning!r}: {family.documentation!r}"


def test_the_page_on_metrics_has_all_outcomes_and_reasons() -> None:
    """The values of labels are words to look up; a code is a word of the contract's."""
    page = (ROOT / PAGE).read_text("utf-8")
    words = {*Outcome, *REFILL_FAILURES} - {*REFUSED.values()}
    assert {word for word in words if f"`{word}`" not in page} == set()
