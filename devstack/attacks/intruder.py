"""The attacker: a process that does one thing for some seconds, as a user with a caller's rights.

It tells in one line what it did. What it knows beside the queues' names stands in `Facts`.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pika.spec import BasicProperties

from devstack.attacks.wire import Closed, RawPublisher, message
from devstack.workers import end_with_parent

_FACTS: Final = "IDALLOC_TEST_INTRUDER"
_PATIENCE: Final = 60.0
_CHUNK: Final = 262_144  # bytes that are written at a time
_AFTER_CLOSE: Final = 0.05  # seconds before it connects again


@dataclass(frozen=True)
class Facts:
    """What the attacker knows."""

    amqp_url: str
    seconds: float
    fleet_queues: Sequence[str] = ()
    metrics_ports: Sequence[int] = ()
    reply_queue: str = ""
    """A queue in which another service takes its replies."""


@dataclass
class Deeds:
    """What the attacker did."""

    messages: int = 0
    bytes: int = 0
    connections: int = 0
    asked: dict[str, int] = field(default_factory=dict)
    """Ids that its requests asked for, by tag, at most."""


class Intruder:
    """What an attack works with: a connection that comes back, and the time."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.deeds = Deeds()
        self._asked = Counter[str]()
        self._until = time.monotonic() + facts.seconds
        self._connection: RawPublisher | None = None
        self.fleet_queues = facts.fleet_queues
        """The workers' own queues, which RabbitMQ's detailed metrics name; they may change."""
        threading.Thread(target=self._listen, name="fleet-queues", daemon=True).start()

    @property
    def over(self) -> bool:
        """Whether its time is up."""
        return time.monotonic() >= self._until

    def beats(self, every: float = 1.0) -> Iterator[int]:
        """Count the times to do something, once at least, until the time is up."""
        began, beat = time.monotonic(), 0
        while not beat or not self.over:
            yield beat
            beat += 1
            time.sleep(max(0.0, min(began + beat * every, self._until) - time.monotonic()))

    def publish(
        self, queue: str, body: bytes, times: int = 1, *, reading: bool = True, **properties: Any
    ) -> None:
        """Send a message so often."""
        prepared = message(queue, body, BasicProperties(**properties))
        left = times
        while left and (left == times or not self.over):
            left -= self.write(prepared, left, reading=reading)

    def flood(self, queue: str, body: bytes, *, reading: bool = True, **properties: Any) -> None:
        """Send a message as often as the broker takes it, until the time is up."""
        self.flood_with(message(queue, body, BasicProperties(**properties)), reading=reading)

    def flood_with(self, prepared: bytes, messages: int = 1, *, reading: bool = True) -> None:
        """Send prepared messages, which count as so many, once at least, until the time is up."""
        while not self.deeds.messages or not self.over:
            self.write(prepared, sys.maxsize, reading=reading, messages=messages)

    def write(self, prepared: bytes, most: int, *, reading: bool = True, messages: int = 1) -> int:
        """Send a prepared message, or some, as often as goes into one write; say how often."""
        times = max(1, min(most, _CHUNK // len(prepared)))
        self.deeds.messages += times * messages  # also those that may not have arrived
        self.deeds.bytes += times * len(prepared)
        try:
            self._connected(reading=reading).write(prepared * times, self._until)
        except Closed:
            self.disconnect()
            time.sleep(_AFTER_CLOSE)
        return times

    def asks(self, app_tag: str, ids: int) -> None:
        """Note that its requests, which are contracts' own, ask for so many ids."""
        self._asked[app_tag] += ids

    def disconnect(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def report(self) -> Deeds:
        """Say what was done."""
        self.disconnect()
        self.deeds.asked = dict(self._asked)
        return self.deeds

    def _listen(self) -> None:
        for line in sys.stdin:
            self.fleet_queues = json.loads(line)

    def _connected(self, *, reading: bool) -> RawPublisher:
        if self._connection is None:
            self._connection = RawPublisher(self.facts.amqp_url, reading=reading)
            self.deeds.connections += 1
        return self._connection


class Attacker:
    """Starts the process; it ends by itself."""

    def __init__(self, attack: str, facts: Facts) -> None:
        self._patience = facts.seconds + _PATIENCE
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devstack.attacks.intruder", attack],
            env={**os.environ, _FACTS: json.dumps(asdict(facts))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, no lock
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the attacker did not start"

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def begin(self) -> None:
        """Let it begin: what it needs is imported."""
        self._say("go")

    def tell(self, fleet_queues: Sequence[str]) -> None:
        """Say how the workers' own queues are called by now."""
        self._say(json.dumps(list(fleet_queues)))

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def finish(self) -> Deeds:
        """Wait for its end, and tell what it did."""
        try:
            output, _ = self._process.communicate(timeout=self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
            raise AssertionError("the attacker does not end") from None
        assert self._process.returncode == 0, "the attacker failed; its reason stands above"
        return Deeds(**json.loads(output))


def main() -> None:
    """Run the attack whose name is given."""
    from devstack.attacks.catalog import BY_NAME  # noqa: PLC0415  # attacks are written against this

    attack = BY_NAME[sys.argv[1]]
    given: dict[str, Any] = json.loads(os.environ[_FACTS])
    facts = Facts(**given)
    print("ready", flush=True)  # noqa: T201  # its parent reads it
    sys.stdin.readline()
    intruder = Intruder(facts)
    attack.run(intruder)
    print(json.dumps(asdict(intruder.report())))  # noqa: T201


if __name__ == "__main__":
    main()
