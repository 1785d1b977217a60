"""Runs an attack beside the honest caller, and says what it did to others."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.harness.machine import listeners, resident_bytes
from devstack.attacks.catalog import WORKER_MEGABYTES, Attack
from devstack.attacks.honest import ORDERED_TAG, Call
from devstack.attacks.intruder import Attacker, Deeds
from devstack.attacks.rights import WORKER
from devstack.attacks.site import CEILING, AttackSite
from devstack.history import check, fleet_disorders, load
from devstack.workers import Worker

BROKER_MEGABYTES: Final = 150.0
"""What a broker may need beside what its policies let the queues hold that are written to."""

_QUEUE_COST: Final = 2.0  # bytes of memory for each byte that a policy counts, at most

LOG_MEGABYTES: Final = 1.0

_HELD: Final = 16
"""Segments of a row that are neither drawn nor a fault: held by workers, or lost by a reconnect."""

_SPARED: Final = 16
"""One of so many parts of a tag's ids is what an attack may take, and what workers hold of it."""

_LOOK_EVERY: Final = 0.1  # seconds
_MB: Final = 1e6


@dataclass(frozen=True)
class Outcome:
    """What came of an attack."""

    attack: Attack
    deeds: Deeds
    failures: Sequence[str]
    """Of honest calls, in words."""
    calls: int
    """Honest ones, while the attack went on."""
    p99_quiet: float
    p99_attacked: float
    worker_megabytes: float
    """By how much the memory of the worker that grew most had grown at its peak."""
    broker_megabytes: float
    broker_limit: float
    faults: Sequence[str]
    """What else went wrong, in words."""

    @property
    def ratio(self) -> float:
        """How many times slower honest calls were."""
        return self.p99_attacked / self.p99_quiet

    @property
    def harm(self) -> list[str]:
        """Say what was done to others, other than to make them slow."""
        found = list(self.faults)
        if self.failures:
            named = ", ".join(
                f"{n} times {why}" for why, n in Counter(self.failures).most_common(3)
            )
            found.append(f"{len(self.failures)} of {self.calls} honest calls failed: {named}")
        if self.worker_megabytes > WORKER_MEGABYTES:
            found.append(f"a worker grew by {self.worker_megabytes:.0f} MB")
        return found

    @property
    def problems(self) -> list[str]:
        """Say which bounds were not kept, other than those of speed."""
        found = self.harm
        if self.broker_megabytes > self.broker_limit:
            found.append(f"the broker grew by {self.broker_megabytes:.0f} MB")
        return found


def run(site: AttackSite, attack: Attack, quiet: float, seconds: float) -> Outcome:
    """Look for some quiet seconds, then attack, then wait until all is as it was."""
    workers = site.fleet.alive()
    broker = listeners(site.broker.port)
    if attack.reconnect:
        site.wait_for_connections()
    attacker = Attacker(attack.name, site.facts(seconds))  # it waits until it is told to begin
    began = time.monotonic()
    time.sleep(quiet)  # it is the time that is measured
    quiet_until = time.monotonic()
    before, logged = _start_counting(workers), _logged(workers)
    broker_before = broker_most = resident_bytes(broker)
    start = time.monotonic()
    attacker.begin()
    for _ in _while_attacked(site, attack, attacker, seconds):
        broker_most = max(broker_most, resident_bytes(broker))
    deeds = attacker.finish()
    site.asked.update(deeds.asked)
    end = time.monotonic()
    site.honest.wait_for_success(end)
    site.wait_until_drained()
    over = time.monotonic()
    attacked = site.honest.calls_between(start, over)
    grown = [_peak(w.pid) - size for w, size in zip(workers, before, strict=True) if w.running]
    return Outcome(
        attack,
        deeds,
        [c.failure for c in attacked if c.failure and c.due > start + attack.recovers_within],
        len(attacked),
        _p99(site.honest.calls_between(began, quiet_until)),
        _p99([call for call in attacked if call.due < end]),
        max(grown, default=0) / _MB,
        (broker_most - broker_before) / _MB,
        BROKER_MEGABYTES + _QUEUE_COST * sum(map(site.most_bytes, attack.fills)) / _MB,
        [
            *(f"{worker.log.name} ended" for worker in workers if not worker.running),
            *_moved(site.first_rows, site.rows(), site.asked, site.honest.calls),
            *_spared(site, attack),
            *_history(site),
            *_wordy(workers, logged),
            *_newcomer(site, attack),
        ],
    )


def _while_attacked(
    site: AttackSite, attack: Attack, attacker: Attacker, seconds: float
) -> Iterator[None]:
    """Wait for its end, and in the middle of it take the workers' connections away."""
    began = time.monotonic()
    reconnected = not attack.reconnect
    while attacker.running:
        yield
        time.sleep(_LOOK_EVERY)
        if attack.reconnect and not reconnected and time.monotonic() > began + seconds / 3:
            reconnected = site.broker.close_connections(WORKER) > 0
        elif attack.reconnect:
            attacker.tell(site.broker.fleet_queues())


def _p99(calls: Sequence[Call]) -> float:
    """Tell how long the slowest of a hundred took; a call that failed took its whole time."""
    taken = sorted(call.seconds for call in calls)
    return taken[min(len(taken) - 1, int(len(taken) * 0.99))] if taken else float("nan")


def _start_counting(workers: Sequence[Worker]) -> list[int]:
    for worker in workers:
        Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # the peak counts from now on
    return [resident_bytes([worker.pid]) for worker in workers]


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kilobytes,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return kilobytes * 1024


def _logged(workers: Sequence[Worker]) -> list[int]:
    return [worker.log.stat().st_size for worker in workers]


def _moved(
    before: Mapping[str, tuple[int, int]],
    after: Mapping[str, tuple[int, int]],
    asked: Mapping[str, int],
    honest: int,
) -> Iterator[str]:
    """Name the rows that moved by more than what was asked for, and what workers hold."""
    for tag, (max_id, step) in after.items():
        moved = max_id - before.get(tag, (0, 0))[0]
        if moved > asked.get(tag, 0) + honest + _HELD * step:
            yield f"the row of {tag} moved by {moved:,}"


def _spared(site: AttackSite, attack: Attack) -> Iterator[str]:
    if attack.spares is not None:
        max_id, _step = site.rows()[attack.spares]
        if max_id > CEILING // _SPARED:
            yield f"{attack.spares} has only {CEILING + 1 - max_id:,} ids left of 2^31"


def _history(site: AttackSite) -> Iterator[str]:
    replies = load(site.history)
    ordered = [reply for reply in replies if reply.app_tag == ORDERED_TAG]
    yield from (f"honest replies: {fault}" for fault in fleet_disorders(ordered))
    try:
        check(replies).assert_clean()
    except AssertionError as error:
        yield f"honest replies: {error}"


def _wordy(workers: Sequence[Worker], before: Sequence[int]) -> Iterator[str]:
    grown = max(now - was for now, was in zip(_logged(workers), before, strict=True)) / _MB
    if grown > LOG_MEGABYTES:
        yield f"a worker's log grew by {grown:.1f} MB"


def _newcomer(site: AttackSite, attack: Attack) -> Iterator[str]:
    """Have one more worker start, and stop again."""
    if attack.newcomer:
        worker = site.start_worker()
        if worker.terminate() != 0:
            yield "a worker that started afterwards did not stop in order"
