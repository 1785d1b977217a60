"""Applications that draw ids at import, before their server forks or starts its processes.

`SERVED_URL` names the broker. What each process draws is a line of the file `SERVED_LOG`.
"""

import json
import os
import time
from pathlib import Path

from idalloc_client import IdClient

URL = os.environ["SERVED_URL"]
CLIENT = IdClient(URL, timeout=100)
IDS = CLIENT.sequence("test_business")


def record(ids: list[int]) -> None:
    """Note ids and who drew them, in one write."""
    with Path(os.environ["SERVED_LOG"]).open("a") as log:
        log.write(json.dumps([os.getpid(), ids]) + "\n")


def draw() -> None:
    """Draw ids in each way; enough for leases to come and go."""
    time.sleep(0.02)  # so that another process takes the next request
    record([next(IDS) for _ in range(150)] + [CLIENT.next_id("test_business")])


draw()
