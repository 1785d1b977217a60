"""Thousands of calls cancelled or timed out at random instants, beside calls that are left alone.

AsyncIdClient on asyncio and, where it is installed, on uvloop; then IdClient in threads. Every call
that is left alone must get its id, no id may come twice, and nothing may stay behind: what lives in
this process is counted before and after, by class. "Before" is after a small dose of the same, so
that what is made once and kept is not taken for a leak.
"""

import asyncio
import importlib
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.crews.interruptions import (
    Outcome,
    TaskMix,
    ThreadMix,
    call_with_all_magnitudes,
    call_with_all_magnitudes_in_thread,
    leave_while_connecting,
)
from benchmarks.harness.level import growth, level, settle
from benchmarks.harness.proof import Effort, Finding, Proof, main
from benchmarks.harness.runner import progress
from benchmarks.harness.site import TAG, one_worker
from idalloc_client import AsyncIdClient, IdClient

TITLE = "Calls cancelled or timed out at random instants, others running beside them"
DEFAULT = Effort(amount=10_000, seconds=None, budget=240.0)

_WARM_UP = 5  # part of the calls
_SETTLE = 5.0  # seconds for what is on its way to come to its end
_KEPT = 8  # objects: the client keeps one for each magnitude of time; the dose may miss a rare one
_QUIET = 1.0  # seconds after the small dose
_BETWEEN_LOOKS = 0.1  # seconds
_CLIENTS = 20  # that are left while they connect

Make = Callable[[], asyncio.AbstractEventLoop]


@dataclass
class Trial:
    """What the calls of one client went through, and what stayed behind."""

    name: str
    outcome: Outcome
    left_over: Counter[str]
    """While the client was still in use."""
    left_at_end: Counter[str]
    """After its close."""


def prove(effort: Effort) -> Proof:
    """Try each kind of client, one after the other, on one worker."""
    until = time.monotonic() + effort.budget
    with one_worker() as site:
        IdClient(site.amqp_url).close()  # the first one makes what a process has once
        trials = [
            _try(name, partial(_try_tasks, make, site.amqp_url, effort.amount, until))
            for name, make in _loops().items()
        ]
        threads = partial(_try_threads, site.amqp_url, effort.amount, until)
        trials.append(_try("IdClient in threads", threads))
    return Proof(TITLE, judge(trials, effort.amount))


def judge(trials: Sequence[Trial], calls: int) -> list[Finding]:
    """Compare what was found with the bars."""
    findings = []
    for trial in trials:
        outcome, name = trial.outcome, trial.name
        for error in outcome.errors[:5]:
            progress(f"{name}: {error}")
        kinds = ", ".join(f"{number} {kind}" for kind, number in outcome.interrupted.items())
        findings += [
            Finding(f"{name}: calls cut short", outcome.cut_short, at_least=calls, note=kinds),
            Finding(
                f"{name}: calls left alone that got their id", outcome.patient, at_least=calls // 20
            ),
            Finding(
                f"{name}: errors of calls that were left alone", len(outcome.errors), at_most=0
            ),
            _left(f"{name}: left behind in use", trial.left_over, _KEPT),
            _left(f"{name}: left behind after the close", trial.left_at_end, 0),
        ]
    ids = [value for trial in trials for value in trial.outcome.ids]
    twice = len(ids) - len(set(ids))
    findings.append(Finding("ids that came twice", twice, at_most=0, note=f"{len(ids):,} ids"))
    return findings


def _left(what: str, left: Counter[str], at_most: int) -> Finding:
    kinds = ", ".join(f"{number} {kind}" for kind, number in left.most_common(5))
    return Finding(what, left.total(), at_most=at_most, note=kinds)


def _loops() -> dict[str, Make]:
    found: dict[str, Make] = {"AsyncIdClient on asyncio": asyncio.new_event_loop}
    if importlib.util.find_spec("uvloop"):
        make: Make = importlib.import_module("uvloop").new_event_loop
        make().close()  # the first one opens descriptors that stay, once for the process
        found["AsyncIdClient on uvloop"] = make
    return found


def _try(name: str, trial: Callable[[], tuple[Outcome, Counter[str]]]) -> Trial:
    progress(name)
    before = level()
    outcome, left_over = trial()
    return Trial(name, outcome, left_over, settle(before, _rest, _SETTLE))


def _rest() -> None:
    time.sleep(_BETWEEN_LOOKS)


def _try_tasks(make: Make, url: str, calls: int, until: float) -> tuple[Outcome, Counter[str]]:
    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(_tasks(url, calls, until))


async def _tasks(url: str, calls: int, until: float) -> tuple[Outcome, Counter[str]]:
    async with AsyncIdClient(url) as client:
        await client.next_id(TAG)  # whoever is in haste before there is a connection is told so
        await call_with_all_magnitudes(client)
        warm_up = await TaskMix(client, calls // _WARM_UP, seed=1).run(until)
        await leave_while_connecting(url, _CLIENTS, seed=1)
        await asyncio.sleep(_QUIET)
        before = await _level_on_loop()
        outcome = await TaskMix(client, calls, seed=2).run(until)
        await leave_while_connecting(url, _CLIENTS, seed=2)
        left = await _settle_on_loop(before)
        outcome.add_ids_of(warm_up)
        outcome.ids.append(await client.next_id(TAG))
    return outcome, left


async def _level_on_loop() -> Counter[str]:
    return level()  # this coroutine included, as it is afterwards


async def _settle_on_loop(before: Counter[str]) -> Counter[str]:
    until = time.monotonic() + _SETTLE
    left = growth(before, level())
    while left and time.monotonic() < until:
        await asyncio.sleep(_BETWEEN_LOOKS)
        left = growth(before, level())
    return left


def _try_threads(url: str, calls: int, until: float) -> tuple[Outcome, Counter[str]]:
    with IdClient(url) as client:
        client.next_id(TAG)  # whoever is in haste before there is a connection is told so
        call_with_all_magnitudes_in_thread(client)
        warm_up = ThreadMix(client, calls // _WARM_UP, seed=1).run(until)
        time.sleep(_QUIET)
        before = level()
        outcome = ThreadMix(client, calls, seed=2).run(until)
        left = settle(before, _rest, _SETTLE)
        outcome.add_ids_of(warm_up)
        outcome.ids.append(client.next_id(TAG))
    return outcome, left


if __name__ == "__main__":
    sys.exit(main(prove, __doc__, "calls", DEFAULT))
