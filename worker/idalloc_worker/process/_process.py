"""One worker process: puts the parts together, runs until it is told to stop, drains."""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from idalloc_client.amqp import (
    LinkThread,
    connection_parameters,
    ignore_message_headers,
    spread,
)
from idalloc_worker.counters import Counters
from idalloc_worker.engine import Engine, EngineLimits, places_for
from idalloc_worker.marks import Vouching
from idalloc_worker.metrics import AskForSnapshot, SnapshotTaker, merged_pools
from idalloc_worker.mysql import MySqlHosts
from idalloc_worker.ordered import OrderedEngine
from idalloc_worker.process._pulse import Place, Pulse
from idalloc_worker.process._signals import exit_now
from idalloc_worker.process._starter import Starter
from idalloc_worker.rights import FleetUsers
from idalloc_worker.service import Requests, WorkerService, freeze_start
from idalloc_worker.settings import Settings
from idalloc_worker.store import RefillThreads, SegmentStore, Store
from idalloc_worker.traces import Tracing

_log = logging.getLogger("idalloc.worker")

_GIVE_BACK_SHARE = 0.5  # of the time that stopping may take


@dataclass(frozen=True, slots=True)
class Parts:
    """What is behind a worker: by default a table in MySQL."""

    where: str
    """The place of the table, for people."""
    make_store: Callable[[], Store]
    new_requests: Callable[..., Requests] = Requests
    role: str = "worker"

    @classmethod
    def of(cls, settings: Settings) -> "Parts":
        """Go by the settings. Raises SettingsError without the address of a database."""
        address = settings.require_mysql()
        hosts = MySqlHosts(address)
        return cls(
            f"table {settings.table} on {address}",
            lambda: SegmentStore(hosts, settings.table, settings.refill_timeout),
        )


def run_worker(
    settings: Settings,
    wait_for_stop: Callable[[float | None], bool],
    place: Place,
    serve_metrics: Callable[[AskForSnapshot], None] | None = None,
    parts: Parts | None = None,
) -> int:
    """Serve until `wait_for_stop` says so, then drain; returns the exit status, 0 if cleanly.

    `wait_for_stop` waits at most the given seconds. `serve_metrics` is told how to have a snapshot
    taken.
    """
    ignore_message_headers()
    parts = parts or Parts.of(settings)
    name = worker_name(parts.role)
    counters = Counters()
    attempts = count(1)
    engine = Engine(_limits(settings), attempts=attempts)
    ordered_engine = OrderedEngine(_limits(settings), attempts=attempts)
    # Processes that are started one by one have the same parent, and the same number.
    started_by = os.getppid() if settings.processes > 1 else os.getpid()
    group = f"{socket.gethostname()} {started_by}"
    brokers = spread(connection_parameters(settings.broker_url(), name), group, place.number)
    tracing = Tracing.start(name, settings.table)
    refill_threads = RefillThreads(parts.make_store, settings.refill_threads)
    service = WorkerService(
        engine,
        ordered_engine,
        lambda handler: LinkThread(brokers, handler, "idalloc-worker-io", on_death=exit_now),
        refill_threads,
        name=name,
        prefetch=places_for(settings.prefetch),
        counters=counters,
        vouching=Vouching(settings.marks_max_age or None),
        operators=settings.operators,
        users=FleetUsers(settings.fleet_users),
        new_traces=tracing.new_traces,
        new_requests=parts.new_requests,
    )
    link = service.thread
    taker = SnapshotTaker(
        lambda: merged_pools(engine.by_tag, ordered_engine.by_tag),
        counters,
        link.link.call_later,
        name,
    )
    link.post(Pulse(place, counters, link.link.call_later).beat)
    starter = Starter()
    if serve_metrics is not None:
        starter.start(
            "metrics", lambda: serve_metrics(lambda taken: link.post(lambda: taker.take(taken)))
        )
    starter.start("the refill threads", refill_threads.start)
    freeze_start()
    starter.start("the thread that serves", link.start)
    _log.info("%s started: %s", name, parts.where)
    while not wait_for_stop(starter.pause):
        starter.retry()
    place.vitals.drains(place.number)
    place.notifier.stopping()
    engines = (engine, ordered_engine)
    status = _drain(link, service, refill_threads, engines, settings.drain_timeout)
    tracing.stop()
    return status


def worker_name(role: str = "worker") -> str:
    """Name this process for people, and apart from all others: pods may share host and pid."""
    return f"idalloc {role} {socket.gethostname()}~{secrets.token_hex(3)}:{os.getpid()}"


def _limits(settings: Settings) -> EngineLimits:
    return EngineLimits(
        max_count=settings.max_count,
        max_waiters=settings.max_waiters,
        max_waiting=places_for(settings.prefetch),
        wait_timeout=settings.wait_timeout,
        refill_timeout=settings.refill_timeout,
    )


def _drain(
    link: LinkThread,
    service: WorkerService,
    refill_threads: RefillThreads,
    engines: tuple[Engine, ...],
    timeout: float,
) -> int:
    """Stop in order: no new requests, answers out, ids given back, refills off, goodbye."""
    _log.info("Draining: no new requests, at most %g s", timeout)
    deadline = time.monotonic() + timeout
    drained = threading.Event()
    link.post(lambda: service.drain(drained.set, timeout * _GIVE_BACK_SHARE))
    clean = drained.wait(timeout)
    clean &= refill_threads.stop(max(deadline - time.monotonic(), 0.5))
    clean &= link.stop(max(deadline - time.monotonic(), 0.5))
    # The thread that owned the engines has ended.
    given_back = sum(pool.given_back for engine in engines for pool in engine.by_tag.values())
    left = sum(engine.remaining for engine in engines)
    if clean:
        _log.info("Stopped; %d ids returned to the database, %d left unused", given_back, left)
    else:
        _log.error("Stopped before everything was answered or handed back")
    return 0 if clean else 1
