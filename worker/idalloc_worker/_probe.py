"""Asks a worker on this machine, through its page of vitals, whether it is live or ready.

It is reached without the command line's imports: they would cost each probe a second of CPU time.
"""

import os
import sys
from collections.abc import Sequence

from idalloc_worker._vitals import Vitals, VitalsError

PROBES = ("live", "ready")
VARIABLE = "IDALLOC_PROBE_FILE"
_OK, _FAILED = 0, 1


def quick_probe(arguments: Sequence[str]) -> int | None:
    """Answer `worker --probe PROBE` where the environment names the file; None if it is another."""
    path = os.environ.get(VARIABLE)
    if not path or tuple(arguments[:2]) != ("worker", "--probe") or len(arguments) != 3:
        return None
    return probe(arguments[2], path) if arguments[2] in PROBES else None


def probe(which: str, path: str) -> int:
    """Say how a worker is; the exit status is 0 if it is live, or ready."""
    problems = _problems(which, path)
    print("\n".join(problems) or which, file=sys.stderr if problems else sys.stdout)
    return _FAILED if problems else _OK


def _problems(which: str, path: str) -> list[str]:
    try:
        return Vitals.at(path).problems(which)
    except OSError as error:
        return [f"no worker runs: {path}: {error.strerror}"]
    except VitalsError as error:
        return [f"{path} is {error}"]
