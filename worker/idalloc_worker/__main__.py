"""Runs the `idalloc` command."""

import gc
import sys

from idalloc_worker._probe import quick_probe

_OF_THE_EXTRA = frozenset({"click", "pymysql", "pythonjsonlogger"})


def main() -> int:
    """Run the command line; say what to install if only the client is."""
    if (status := quick_probe(sys.argv[1:])) is not None:
        return status
    gc.disable()  # what is imported stays: to look for garbage is 7 % of a worker's start
    try:
        from idalloc_worker.cli import run  # noqa: PLC0415 - what it imports may not be there

        return run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_EXTRA:
            raise
        need = "the command line needs the worker extra: pip install 'idalloc[worker]'"
        print(f"idalloc: {need}", file=sys.stderr)  # noqa: T201 - nothing better is installed
        return 2


if __name__ == "__main__":
    sys.exit(main())
