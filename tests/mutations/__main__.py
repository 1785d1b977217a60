"""Breaks the protocol's rules in the source, one at a time, and reports which the tests notice."""

import argparse
import sys
from collections.abc import Sequence

from tests.mutations import RULES
from tests.mutations._gate import WIDER, Verdict, judge_all


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every broken rule is noticed, 1 if one is not."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="side by side")
    parser.add_argument("--only", metavar="WORDS", help="rules whose sentence or file has these")
    parser.add_argument(
        "--named", action="store_true", help="look only where the list says, and nowhere else"
    )
    given = parser.parse_args(arguments)
    chosen = [rule for rule in RULES if not given.only or given.only in f"{rule.says}{rule.file}"]
    verdicts = judge_all(chosen, given.processes, _show, () if given.named else WIDER)
    missed = [verdict for verdict in verdicts if verdict.noticed_by is None]
    print(f"\n{len(verdicts) - len(missed)} of {len(verdicts)} broken rules are noticed")
    for verdict in missed:
        print(f"NOT NOTICED  {verdict.rule.file}: {verdict.rule.says}")
    return 1 if missed else 0


def _show(verdict: Verdict) -> None:
    where = verdict.noticed_by or "NOBODY"
    print(f"{verdict.seconds:5.1f} s  {where:<40} {verdict.rule.says}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
