"""Draws in children that `multiprocessing` starts: by fork, from a fork server, or anew."""

import multiprocessing
import os
import sys

from tests.served import draw


def work(_: int) -> int:
    """Return the process id."""
    draw()
    return os.getpid()


def main(method: str) -> None:
    """Have three children draw, and this process as well."""
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(["tests.served"])
    with context.Pool(3) as pool:
        seen: set[int] = set()
        while len(seen) < 3:
            seen.update(pool.map(work, range(9), chunksize=1))
    draw()


if __name__ == "__main__":
    main(sys.argv[1])
