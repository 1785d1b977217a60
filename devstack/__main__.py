"""Runs the commands behind `make demo` and `make up`."""

import argparse
import signal
import sys
from typing import Never

from devstack._demo import demo
from devstack._up import up
from devstack.servers._errors import DevStackError


def main() -> int:
    """Return 0 if all went well, 1 with the reason on stderr, 130 if a demo was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="hand out ids on a fresh database, check them and exit")
    commands.add_parser("up", help="run the stack and two workers until Ctrl-C")
    command = parser.parse_args().command
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT: a shell's background jobs ignore it
        signal.signal(number, _interrupt)
    try:
        demo() if command == "demo" else up()
    except DevStackError as error:
        print(f"\n{command} failed: {error}", file=sys.stderr)  # noqa: T201 - to whom it may concern
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)  # noqa: T201 - answers the Ctrl-C
        return 0 if command == "up" else 130
    return 0


def _interrupt(*_: object) -> Never:
    """Stop everything in order, at a Ctrl-C and at a SIGTERM."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
