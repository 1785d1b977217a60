"""Reads a worker's metrics as Prometheus does, for tests."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from devstack.workers import PATIENCE


@dataclass(frozen=True)
class Sample:
    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Scrape:
    """The samples of one answer, and each family's type and help by its name."""

    samples: list[Sample]
    families: dict[str, tuple[str, str]]

    def find(self, name: str, **labels: str) -> list[Sample]:
        """List the samples of a name that carry these labels, and maybe more."""
        return [
            sample
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the one sample of a name that carries these labels."""
        (sample,) = self.find(name, **labels)
        return sample.value

    def sum(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.find(name, **labels))


def parse(text: str) -> Scrape:
    families = list(text_string_to_metric_families(text))
    return Scrape(
        [Sample(it.name, it.labels, it.value) for family in families for it in family.samples],
        {family.name: (family.type, family.documentation) for family in families},
    )


def scrape(port: int, host: str = "127.0.0.1") -> Scrape:
    """Read the metrics once."""
    with urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        return parse(answer.read().decode())


def scrape_until(port: int, condition: Callable[[Scrape], object]) -> Scrape:
    """Read the metrics until they are as wanted."""
    deadline = time.monotonic() + PATIENCE
    while not condition(last := scrape(port)):
        assert time.monotonic() < deadline, last.samples
        time.sleep(0.05)
    return last
