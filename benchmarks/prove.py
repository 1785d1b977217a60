"""Runs the benchmarks whose bars are counts that must be right; that takes about an hour.

Each runs as a process of its own and prints what it found; `python -m benchmarks.NAME --help` tells
the options of one.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from benchmarks.harness.launch import addresses, launch
from benchmarks.harness.programme import PROOFS
from benchmarks.harness.runner import progress
from devstack import DevStackError, running_stack

_KEPT, _MISSED, _NOT_RUN = 0, 1, 2
_WORDS: dict[int | None, str] = {_KEPT: "kept", _MISSED: "MISSED"}
_UNKNOWN = "could not run; its reason stands above"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every bar is kept, 1 if not, 2 if something could not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prove", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=PROOFS,
        metavar="NAME",
        help="run this one, and others so named: %(choices)s",
    )
    given = parser.parse_args(arguments)
    try:
        found = _all(given.only or PROOFS)
    except DevStackError as error:
        print(error, file=sys.stderr)
        return _NOT_RUN
    print(summary(found))
    return status(found)


def _all(names: Sequence[str]) -> dict[str, int | None]:
    found = {}
    with running_stack() as stack:
        for number, name in enumerate(names, 1):
            progress(f"\n--- {number}/{len(names)} {name}")
            found[name] = launch(name, [], addresses(stack))
    return found


def summary(found: Mapping[str, int | None]) -> str:
    """Write one line for each, by its exit code."""
    return "\n".join(f"{name:<14} {_WORDS.get(code, _UNKNOWN)}" for name, code in found.items())


def status(found: Mapping[str, int | None]) -> int:
    """Say with one number how it went."""
    if not set(found.values()) <= {_KEPT, _MISSED}:
        return _NOT_RUN
    return _MISSED if _MISSED in found.values() else _KEPT


if __name__ == "__main__":
    sys.exit(main())
