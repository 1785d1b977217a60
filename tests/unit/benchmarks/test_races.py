"""What races promise: CPU time wherever processes take part, their bars, and a network between."""

import asyncio
import importlib
import inspect
import itertools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from benchmarks.harness.launch import addresses
from benchmarks.harness.launch import race as launched
from benchmarks.harness.programme import APART, RACES, module_of
from benchmarks.harness.runner import Bar, Plan, Race, Report, Result, Spread, run, with_limit
from benchmarks.harness.turns import Contender, Sample, cpu_figure
from benchmarks.races import in_flight, tail
from devstack import Stack

WITH_BARS = ("async_singles", "single_requests", "ordered", "tail", "in_flight")
ONE_ROUND = Plan(rounds=1, seconds=0.1)


@pytest.mark.parametrize("name", [*(entry.name for entry in RACES), *APART])
def test_cpu_time_is_told_wherever_processes_take_part(name: str) -> None:
    """It is the first figure: a race that names its processes says what their time is for."""
    source = inspect.getsource(importlib.import_module(module_of(name)))
    for arguments in re.findall(r"\bRace\((.*)\)", source):
        assert "processes" not in arguments or re.search(r'"(id|call|request)"|PER', arguments)


@pytest.mark.parametrize(
    ("name", "bar"),
    [
        (
            "async_singles",
            Bar("AsyncIdClient", ("floor",), 1.6, at_least=False, of="client CPU us/id"),
        ),
        ("async_singles", Bar("AsyncIdClient", ("floor",), 0.5, quiet_limit=0.65)),
        (
            "single_requests",
            Bar("idalloc", ("echo",), 0.3, at_least=False, of="worker CPU us/request"),
        ),
        ("ordered", Bar("256 tasks, ordered", ("256 tasks, ordinary",), 0.8)),
        (
            "tail",
            Bar("idalloc, 50 % of its own", ("echo, 50 %",), 1.5, at_least=False, of="p99.9 us"),
        ),
        *(
            (
                "in_flight",
                Bar(f"{far} ms each way: 256 callers", (f"{far} ms each way: {lone}",), 0.9),
            )
            for far in (1, 20)
            for lone in ("256 per round trip",)
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.subject,
)
def test_bars(name: str, bar: Bar) -> None:
    """What was promised is held to, not only told."""
    assert bar in importlib.import_module(module_of(name)).BARS


def test_cpu_time_beside_every_figure() -> None:
    """It comes first; a bar on it is not told twice."""
    contenders = [
        Contender(name, lambda _s, us=us: Sample(10.0, {cpu_figure("client", "id"): us}))  # type: ignore[misc]
        for name, us in (("ours", 3.0), ("peer", 2.0))
    ]
    own = Bar("ours", ("peer",), 1.6, at_least=False, of=cpu_figure("client", "id"))
    bars = (Bar("ours", ("peer",), 0.5), own)
    report = run(Race("r", "ids/s", contenders, bars, cpu_per="id"), ONE_ROUND)
    told = [(verdict.bar.of, verdict.bar.limit) for verdict in report.verdicts]
    assert told == [("client CPU us/id", 1.6), ("all CPU us/id", None), ("", 0.5)]
    assert [verdict.ratios.median for verdict in report.verdicts] == [1.5, 1.5, 1.0]


def test_calls_are_counted_where_the_figure_is_a_time() -> None:
    """So that CPU time is told for each of them."""
    samples = {"few": 10, "many": 1000}
    contenders = [
        Contender(name, lambda _s, n=n: Sample(5.0, {cpu_figure("x", "call"): 1.0}, n))  # type: ignore[misc]
        for name, n in samples.items()
    ]
    report = run(Race("r", "us", contenders, (), {"none": []}, "call"), ONE_ROUND)
    assert [list(one.more) for one in report.results] == [
        ["all CPU us/call", "none CPU us/call", "x CPU us/call"]
    ] * 2


def test_a_limit_on_a_figure_that_there_is() -> None:
    """Each round counts, and nothing is told twice."""
    report = Report("r", results=(Result("idalloc next", Spread((240.0, 260.0, 200.0)), {}),))
    limited = with_limit(report, "idalloc next", 250, "ms")
    assert limited.results == report.results
    [verdict] = limited.verdicts
    assert verdict.met
    assert verdict.ratios.values == (0.96, 1.04, 0.8)


def after(seconds: float) -> Callable[[], Awaitable[int]]:
    """Make a call that takes so long."""

    async def ask() -> int:
        await asyncio.sleep(seconds)
        return 1

    return ask


def test_arrivals_at_random() -> None:
    """The same ones each time, whatever the calls take; all of them are waited for."""
    numbers = []
    for call in (0.0, 0.2):
        taken = asyncio.run(in_flight.arrivals(after(call), pace=1000, seconds=0.1))
        assert min(taken) >= call * 0.95
        numbers.append(len(taken))
    assert numbers[0] == numbers[1]
    assert 70 < numbers[0] < 130


def test_who_calls_at_random_stands_by_for_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are as many tasks as calls at a time, and not one for each call."""
    callers = set()
    ticks = itertools.count(0.0, 0.0001)  # however busy the machine is, few calls are due at once
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))

    async def ask() -> None:
        callers.add(asyncio.current_task())
        await asyncio.sleep(0)

    taken = asyncio.run(in_flight.arrivals(ask, pace=2000, seconds=0.2))
    assert len(callers) < len(taken) / 2


def test_what_a_worker_can_do_is_the_median_of_some_turns() -> None:
    """Not what it did in a moment; the workers take turns, and what warms them up is left out."""
    calls = []

    class Requests:
        def __init__(self, name: str, *given: float) -> None:
            self._name, self._given = name, iter((1000.0, *given))

        def rate(self, _in_flight: int, _seconds: float) -> float:
            calls.append(self._name)
            return next(self._given)

    workers: list[Any] = [
        (one._name, one) for one in (Requests("a", 9, 1, 5, 6, 4), Requests("b", 2, 3, 9, 1, 2))
    ]
    assert tail.capacities(workers) == [5, 2]
    assert calls == ["a", "b"] * 6


def test_what_a_round_trip_makes_possible() -> None:
    """So many callers get one id each in it; random calls come half as often as that."""
    with asyncio.Runner() as runner:
        distance = in_flight.Distance(after(0.01), runner)
        lone = distance.lone(0.05)
        [mean] = lone.more.values()
        assert lone.figure * mean / 1e6 == pytest.approx(256)
        assert lone.count is not None
        assert 1 <= lone.count <= 6
        random = distance.at_random(0.1)
        assert random.count is not None
        assert random.count == pytest.approx(lone.figure / 2 * 0.1, rel=0.5)
        assert random.figure <= random.count / 0.09


@pytest.mark.long
def test_a_network_between(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The race runs: its proxies hold messages up, each way, and its bars are judged."""
    output = tmp_path_factory.mktemp("race") / "report.json"
    options = ["--rounds", "1", "--seconds", "0.3"]
    report = launched("in_flight", options, addresses(stack), 300, output)
    means = {one["name"]: one["more"]["mean us"]["median"] for one in report["contenders"]}
    for far in in_flight.DELAYS:
        assert means[f"{far} ms each way: 256 per round trip"] >= 2 * far * 1000
    assert {bar["limit"] for bar in report["bars"]} == {None, 0.9, 1.3}
