"""Every attack of `tests/attacks` for 20 seconds, beside an honest caller at 50 calls a second.

Two workers on the shipped definitions, with a thousand tags in their memory; the attacker is a user
with a caller's rights. Bars: no honest call fails, the 99th percentile of what they take is at most
five times that of the quiet seconds just before, no worker grows by more than 50 MB, the broker by
no more than its policies allow, and no row moves by more than what was drawn.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.harness.command import positive, positive_int
from benchmarks.harness.environment import environment
from benchmarks.harness.proof import Finding, Proof
from benchmarks.harness.runner import BenchmarkError, progress
from devstack import DevStackError, Management, Stack, running_stack
from devstack.attacks.catalog import ATTACKS, BY_NAME, WORKER_MEGABYTES, Attack
from devstack.attacks.judge import Outcome, run
from devstack.attacks.site import AttackSite, attack_site
from devstack.workers import WorkerFailedError

TITLE: Final = "Attacks with a caller's rights"
MOST_RATIO: Final = 5.0

_HEAD: Final = (
    *("attack", "failed", "p99 quiet, ms", "p99 attacked, ms", "ratio", "worker, MB", "broker, MB"),
    *("other faults", "bars"),
)


@dataclass(frozen=True)
class Broken:
    """An attack after which things did not come back by themselves."""

    attack: Attack
    reason: str


Result = Outcome | Broken


def results(
    stack: Stack, attacks: Iterable[Attack], quiet: float, seconds: float, tags: int
) -> Iterator[Result]:
    """Run one after another; those after one that did harm begin with new workers."""
    with ExitStack() as held:
        site: AttackSite | None = None
        for number, attack in enumerate(attacks, 1):
            progress(f"{number}: {attack.name}. {attack.what}")
            if site is None:
                folder = Path(held.enter_context(TemporaryDirectory(prefix="idalloc-attacks-")))
                site = held.enter_context(attack_site(stack, folder, tags))
            result = _result(site, attack, quiet, seconds)
            if isinstance(result, Broken) or result.problems:
                held.close()
                site = None
            yield result


def _result(site: AttackSite, attack: Attack, quiet: float, seconds: float) -> Result:
    try:
        return run(site, attack, quiet, seconds)
    except (AssertionError, WorkerFailedError) as error:
        return Broken(attack, str(error).partition("\n")[0])


def findings(result: Result) -> list[Finding]:
    """Hold a result against the bars."""
    name = result.attack.name
    if isinstance(result, Broken):
        return [Finding(f"{name}: came back", 0, at_least=1, note=result.reason)]
    failed = ", ".join(sorted(set(result.failures))[:3])
    return [
        Finding(f"{name}: honest calls that failed", len(result.failures), at_most=0, note=failed),
        Finding(f"{name}: p99 / quiet p99", result.ratio, at_most=_most_ratio(result.attack)),
        Finding(
            f"{name}: growth of a worker, MB", result.worker_megabytes, at_most=WORKER_MEGABYTES
        ),
        Finding(
            f"{name}: growth of the broker, MB",
            result.broker_megabytes,
            at_most=result.broker_limit,
        ),
        Finding(
            f"{name}: other faults", len(result.faults), at_most=0, note="; ".join(result.faults)
        ),
    ]


def _most_ratio(attack: Attack) -> float | None:
    """Tell the bar of speed; where the broker stops them, or workers reconnect, calls go on."""
    return None if attack.recovers_within or attack.reconnect else MOST_RATIO


def table(found: Sequence[Result]) -> str:
    """Write a line for each attack, as Markdown."""
    rows = [_HEAD, tuple("---" for _ in _HEAD), *map(_row, found)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(result: Result) -> tuple[str, ...]:
    met = "met" if all(finding.met for finding in findings(result)) else "MISSED"
    if isinstance(result, Broken):
        return (result.attack.name, *("-" for _ in _HEAD[1:-2]), result.reason, met)
    return (
        result.attack.name,
        f"{len(result.failures)} of {result.calls}",
        f"{result.p99_quiet * 1000:.1f}",
        f"{result.p99_attacked * 1000:.1f}",
        f"{result.ratio:.1f}",
        f"{result.worker_megabytes:.0f}",
        f"{result.broker_megabytes:.0f}",
        "; ".join(result.faults) or "none",
        met,
    )


def _possible(stack: Stack, names: Sequence[str]) -> list[Attack]:
    overview = Management(stack.management_url).get("/api/overview")
    release = int(str(overview["rabbitmq_version"]).partition(".")[0])
    chosen = [BY_NAME[name] for name in names] or ATTACKS
    return [attack for attack in chosen if release >= attack.broker_from]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if it kept its bars, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=positive, default=20.0, metavar="S", help="of each")
    parser.add_argument("--quiet", type=positive, default=10.0, metavar="S", help="before each")
    parser.add_argument("--tags", type=positive_int, default=1000, metavar="N")
    parser.add_argument("--only", action="append", choices=BY_NAME, default=[], metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    given = parser.parse_args(arguments)
    found: list[Result] = []
    try:
        with running_stack() as stack:
            attacks = _possible(stack, given.only)
            for result in results(stack, attacks, given.quiet, given.seconds, given.tags):
                found.append(result)
                progress(table([result]).splitlines()[-1])
    except (BenchmarkError, DevStackError) as error:
        print(error, file=sys.stderr)
        return 2
    proof = Proof(TITLE, [finding for result in found for finding in findings(result)])
    proof = replace(proof, environment=environment())
    if given.json is not None:
        given.json.write_text(json.dumps(proof.as_json(), indent=2) + "\n")
    print(table(found))
    print(proof.as_text())
    return 0 if proof.met else 1


if __name__ == "__main__":
    sys.exit(main())
