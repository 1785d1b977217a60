"""How a tag of a small step gets on from a cold start, with a near and with a slow database.

One worker, step 100, and tasks that ask for an id at a time for a minute: once with segments sized
by consumption, once with the step fixed; both with the database near, and with 200 ms to it and
back. The first half of a turn is the warm-up: all figures but the statements are of the second.

The latency is that of one tag which is refilled every two seconds, while the database is near and
far in turns of three seconds.
"""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from urllib.parse import urlsplit

from benchmarks.harness.command import main
from benchmarks.harness.runner import Bar, Plan, Report, Result, Spread, Verdict, judge, progress
from devstack import Database, TcpProxy, running_stack, scratch_database, scratch_vhost
from devstack.workers import Fleet, through
from idalloc_client import AsyncIdClient

TITLE = "Adaptive step"
DEFAULT = Plan(rounds=1, seconds=60.0, budget=290.0)
STEP = 100
TASKS = 32
DELAY = 0.2  # seconds to the database and back
_STATEMENTS_PER_REFILL = 2  # it reads the row, and moves its mark
_LIMIT = 30.0  # seconds for one request
_TURN = 3.0  # seconds
_COVER = 4.0  # seconds: a refill every two


@dataclass(frozen=True)
class Half:
    """What the second half of a turn showed, and what the database was sent in all of it."""

    seconds: float
    ids: int
    requests: int
    waited: int
    refills: int
    statements: float
    """For a million ids, from the cold start on."""


@dataclass(frozen=True)
class _Site:
    amqp_url: str
    database: Database
    proxy: TcpProxy

    def add_tag(self, name: str, *, target_cover: float | None) -> None:
        self.database.query(
            "INSERT INTO segments (app_tag, step, target_cover) VALUES (%s, %s, %s)",
            name,
            STEP,
            target_cover,
        )


@contextmanager
def _site() -> Iterator[_Site]:
    """Have one worker run that reaches its database through a proxy."""
    name = f"idalloc-benchmark-{secrets.token_hex(6)}"
    with (
        running_stack() as stack,
        scratch_vhost(stack.amqp_url, stack.management_url, name) as vhost,
        scratch_database(stack.mysql_url) as database,
    ):
        server = urlsplit(stack.mysql_url)
        with (
            TcpProxy(server.hostname or "", server.port or 3306) as proxy,
            Fleet(vhost, through(proxy, database.url)) as fleet,
        ):
            fleet.start(1)
            yield _Site(vhost, database, proxy)


def measure(plan: Plan) -> Report:
    """Let the kinds take turns, each on a tag of its own that nobody has used yet."""
    halves: dict[str, list[Half]] = {}
    started = time.monotonic()
    rounds = 0
    with _site() as site:
        while rounds < plan.rounds:
            elapsed = time.monotonic() - started
            if rounds and elapsed + elapsed / rounds > plan.budget:
                break
            for adaptive, delay in product((True, False), (0.0, DELAY)):
                name = _name(adaptive=adaptive, delay=delay)
                # A step that is fixed shows in a few seconds what it is like.
                seconds = plan.seconds if adaptive else plan.seconds / 4
                tag = f"{name} {rounds}".replace(" ", "-")
                site.add_tag(tag, target_cover=None if adaptive else 0)
                site.proxy.delay = delay / 2
                half = asyncio.run(_turn(site.amqp_url, tag, seconds))
                progress(f"{TITLE}: {name}: {half}")
                halves.setdefault(name, []).append(half)
            rounds += 1
        tails = asyncio.run(_tails(site, plan.seconds / 2))
    return _report(halves, tails, rounds)


async def _tails(site: _Site, seconds: float) -> dict[str, Spread]:
    """Measure the slowest thousandth, in milliseconds, with the database near and far in turns."""
    tails: dict[str, list[float]] = {}
    site.proxy.delay = 0.0
    site.add_tag("tails", target_cover=_COVER)
    async with AsyncIdClient(site.amqp_url, timeout=_LIMIT) as client:
        await _load(client, "tails", 4 * _TURN)
        for _ in range(max(1, round(seconds / _TURN / 2))):
            for delay in (0.0, DELAY):
                site.proxy.delay = delay / 2
                latencies = sorted(await _load(client, "tails", _TURN))
                tail = latencies[int(len(latencies) * 0.999)] * 1000
                tails.setdefault(_name(adaptive=True, delay=delay), []).append(tail)
    progress(f"{TITLE}: {tails}")
    return {name: Spread(tuple(values)) for name, values in tails.items()}


async def _turn(amqp_url: str, tag: str, seconds: float) -> Half:
    async with AsyncIdClient(amqp_url, timeout=_LIMIT) as client:
        cold = await _counters(client)
        warm_up = await _load(client, tag, seconds / 2)
        before = await _counters(client)
        started = time.perf_counter()
        latencies = await _load(client, tag, seconds / 2)
        elapsed = time.perf_counter() - started
        after = await _counters(client)
    used = {name: after.get(name, 0) - before.get(name, 0) for name in after}
    return Half(
        seconds=elapsed,
        ids=len(latencies),
        requests=used["requests"],
        waited=used.get("waited", 0),
        refills=used.get("refills", 0),
        statements=(after["refills"] - cold.get("refills", 0))
        * _STATEMENTS_PER_REFILL
        / (len(warm_up) + len(latencies))
        * 1e6,
    )


async def _load(client: AsyncIdClient, tag: str, seconds: float) -> list[float]:
    """Let tasks ask for one id at a time; return how long each took, in seconds."""
    until = time.perf_counter() + seconds
    latencies: list[float] = []

    async def ask() -> None:
        while (started := time.perf_counter()) < until:
            await client.next_id(tag)
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(ask() for _ in range(TASKS)))
    return latencies


async def _counters(client: AsyncIdClient) -> Mapping[str, int]:
    return (await client.health()).counters


def _name(*, adaptive: bool, delay: float) -> str:
    return f"{'adaptive' if adaptive else 'fixed'}{f' + {delay * 1000:.0f} ms' if delay else ''}"


def _report(
    halves: Mapping[str, Sequence[Half]], tails: Mapping[str, Spread], rounds: int
) -> Report:
    near, far = (_name(adaptive=True, delay=delay) for delay in (0.0, DELAY))
    fixed = _name(adaptive=False, delay=0.0)
    statements, rates, waited, refills = (
        {name: Spread(tuple(map(figure, turns))) for name, turns in halves.items()}
        for figure in (
            lambda half: half.statements,
            lambda half: half.ids / half.seconds,
            lambda half: half.waited / half.requests,
            lambda half: half.refills / half.seconds * 10,
        )
    )
    verdicts = [
        *(
            Verdict(Bar(f"waited, {name}", ("all requests",), 0, at_least=False), "all", share)
            for name, share in waited.items()
            if name in {near, far}
        ),
        *(
            Verdict(Bar(f"refills, {name}", ("10 s",), 1, at_least=False), "10 s", number)
            for name, number in refills.items()
            if name in {near, far}
        ),
        _ratio(Bar(far, (near,), 1.2, at_least=False), "p99.9", tails),
        _ratio(Bar(fixed, (near,), None, at_least=False), "statements", statements),
    ]
    results = [
        Result(f"{name}, {what}", spread, {})
        for what, spreads in (
            ("statements per million ids", statements),
            ("ids/s", rates),
            ("p99.9 in ms", tails),
        )
        for name, spread in spreads.items()
    ]
    return Report(TITLE, "", tuple(results), tuple(verdicts), rounds)


def _ratio(bar: Bar, figure: str, figures: Mapping[str, Spread]) -> Verdict:
    verdict = judge(bar, figures)
    return replace(verdict, bar=replace(bar, subject=f"{figure} of {bar.subject}"))


if __name__ == "__main__":
    sys.exit(main(measure, __doc__, DEFAULT))
