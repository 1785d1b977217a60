"""A caller in a process of its own: draws ids with `IdClient` and records every reply.

`python -m devstack.caller FOLDER NAME --url URL --tags A,B --ids 1000 --seconds 0 --timeout 5`
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devstack.history import Recorder, Reply
from idalloc_client import IdAllocError, IdBatch, IdClient, UrlFile


@dataclass
class Summary:
    """What a caller experienced."""

    calls: int = 0
    ids: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    first_errors: list[str] = field(default_factory=list)
    worst_overrun: float = 0.0
    """Seconds that a call lasted beyond its deadline, at most."""
    error_times: list[float] = field(default_factory=list)
    """When calls failed, in monotonic seconds, at most 20 a second."""
    success_times: list[float] = field(default_factory=list)


class Caller:
    """Starts the process and reads its summary."""

    def __init__(self, folder: Path, name: str, url: str, *options: str) -> None:
        self._summary = folder / f"summary-{name}.json"
        call = [str(folder), name, "--url", url, *options]
        self._process = subprocess.Popen([sys.executable, "-m", "devstack.caller", *call])

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def result(self, timeout: float) -> Summary:
        """Wait for its end and say how it went."""
        assert self._process.wait(timeout) == 0, "the caller crashed"
        return Summary(**json.loads(self._summary.read_text()))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def draw(arguments: argparse.Namespace) -> Summary:
    """Draw ids until there are enough, the time is over and nobody wants more."""
    chance = random.Random(arguments.name)
    summary, errors = Summary(), Counter[str]()
    tags = arguments.tags.split(",")
    until = time.monotonic() + arguments.seconds
    retry = not arguments.first_answer
    url = UrlFile(arguments.url_file) if arguments.url_file else arguments.url
    with IdClient(url, retry=retry) as client, Recorder(arguments.folder) as recorder:
        while (
            summary.ids < arguments.ids
            or time.monotonic() < until
            or (arguments.until is not None and not arguments.until.exists())
        ):
            app_tag = chance.choice(tags)
            count = 1 if chance.random() < 0.8 else chance.randint(2, arguments.batch)
            sent_at = time.monotonic()
            summary.calls += 1
            try:
                batch = client.next_ids(app_tag, count, timeout=arguments.timeout)
            except IdAllocError as error:
                errors[type(error).__name__] += 1
                if len(summary.first_errors) < 3:
                    summary.first_errors.append(str(error))
                _note(summary.error_times)
            else:
                summary.ids += count
                recorder.record(_reply(batch, app_tag, arguments.name, sent_at))
                _note(summary.success_times)
            overrun = time.monotonic() - sent_at - arguments.timeout
            summary.worst_overrun = max(summary.worst_overrun, overrun)
            time.sleep(arguments.pause)
    summary.errors = dict(errors)
    return summary


def _note(times: list[float]) -> None:
    now = time.monotonic()
    if not times or now - times[-1] >= 0.05:
        times.append(now)


def _reply(batch: IdBatch, app_tag: str, caller: str, sent_at: float) -> Reply:
    return Reply(app_tag, batch.ranges, batch.worker, caller, sent_at, time.monotonic())


def main() -> None:
    """Run as the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--url", required=True)
    parser.add_argument("--url-file", type=Path, help="where the URL is read at each connect")
    parser.add_argument("--tags", default="test_business")
    parser.add_argument("--ids", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--until", type=Path, help="go on until there is such a file")
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--first-answer", action="store_true", help="ask nobody again")
    arguments = parser.parse_args()
    summary = draw(arguments)
    path = arguments.folder / f"summary-{arguments.name}.json"
    path.write_text(json.dumps(asdict(summary)))


if __name__ == "__main__":
    main()
