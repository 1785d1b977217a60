"""A hundred thousand random schedules of real workers on a simulated broker and database.

No id may come twice, no row be repaired that was never set back, no ordered tag fall, no id get
lost uncounted and no request stay unanswered. `python -m tests.simulation` tells one schedule.
"""

import os
import sys
from typing import Final

from benchmarks.harness.proof import Effort, Finding, Proof, main
from benchmarks.harness.runner import progress
from tests.simulation import Campaign, run_many, story

TITLE: Final = "Random schedules of real workers on a simulated broker and database"
DEFAULT: Final = Effort(amount=100_000, seconds=None, budget=600.0)
_MOST_SECONDS: Final = 600.0
_EVERY: Final = 10_000
_PROCESSES: Final = 2
_RULES: Final = ("duplicate", "false repair", "order", "uncounted", "books", "unanswered")


def prove(effort: Effort) -> Proof:
    """Run them on as many processes as there are, at most two."""
    processes = min(_PROCESSES, os.cpu_count() or 1)
    campaign = run_many(range(effort.amount), processes=processes, on_progress=_show)
    for seed in list(campaign.found)[:1]:
        progress(story(seed, {}))
    findings = [Finding("schedules", campaign.schedules, at_least=effort.amount)]
    findings += [Finding(rule, campaign.of_kind(rule), at_most=0) for rule in _RULES]
    findings += [
        Finding("schedules that broke any rule", len(campaign.found), at_most=0),
        Finding(
            "seconds", campaign.seconds, at_most=_MOST_SECONDS, note=f"on {processes} processes"
        ),
    ]
    seen = ("ids", "repairs", "claims_contested", "given back", "generations")
    findings += [Finding(f"seen: {name}", campaign.counts[name], at_least=1) for name in seen]
    return Proof(TITLE, findings)


def _show(campaign: Campaign) -> None:
    if campaign.schedules % _EVERY == 0:
        progress(f"{campaign.schedules:,} schedules in {campaign.seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main(prove, __doc__, "schedules", DEFAULT))
