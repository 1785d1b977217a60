"""Writes the documents of `docs/contract/` anew, or plays the worker of `vectors/replies.json`."""

import argparse
import sys
from collections.abc import Sequence

from tests.contract import FOLDER
from tests.contract._answers import play
from tests.contract._documents import documents


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when all is written."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract", description=__doc__)
    parser.add_argument("amqp_url", nargs="?", help="answer requests there until interrupted")
    given = parser.parse_args(arguments)
    if given.amqp_url:
        play(given.amqp_url)
    for name, text in documents().items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
