"""Runs the commands behind `make demo`, `make up` and `make dev`."""

import argparse
import signal
import sys
from typing import Never

from devstack._demo import demo
from devstack._dev import dev
from devstack._up import up
from devstack.servers._errors import DevStackError


def main() -> int:
    """Return 0 if all went well, 1 with the reason on stderr, 130 if a demo was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="hand out ids on a fresh database, check them and exit")
    commands.add_parser("up", help="run the stack and two workers until Ctrl-C")
    commands.add_parser("dev", help="run RabbitMQ and `idalloc dev` with these arguments")
    options, arguments = parser.parse_known_args()
    command = options.command
    if command != "dev" and arguments:
        parser.error(f"unknown arguments: {' '.join(arguments)}")
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT: a shell's background jobs ignore it
        signal.signal(number, _interrupt)
    try:
        if command == "dev":
            dev(arguments)
        else:
            demo() if command == "demo" else up()
    except DevStackError as error:
        print(f"\n{command} failed: {error}", file=sys.stderr)  # noqa: T201 - to whom it may concern
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)  # noqa: T201 - answers the Ctrl-C
        return 130 if command == "demo" else 0
    return 0


def _interrupt(*_: object) -> Never:
    """Stop everything in order, at a Ctrl-C and at a SIGTERM."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
