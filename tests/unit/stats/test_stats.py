"""What a client says of itself: complete, cheap, and the same through Prometheus."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from idalloc_client import AppTagNotFoundError, IdClient
from idalloc_client._stats._counters import ClientCounters
from idalloc_client._stats._stats import RoundTrips, SequenceStats, snapshot
from idalloc_client.histogram import Histogram
from idalloc_client.prometheus import ClientCollector
from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient
from idalloc_schemas import RespCode


def used_client() -> FakeIdClient:
    client = FakeIdClient({"order": 1})
    client.next_id("order")
    client.next_ids("order", 9)
    with pytest.raises(AppTagNotFoundError):
        client.next_id("nope")
    return client


def test_calls_add_up() -> None:
    """Every call is in one of served, failed, cancelled and waiting."""
    stats = used_client().stats()
    assert (stats.served, stats.failed, stats.cancelled) == (2, {"AppTagNotFoundError": 1}, 0)
    assert (stats.calls, stats.ids, stats.timed_out) == (3, 10, 0)
    assert stats.calls_per_request == 1


def test_an_unused_client_has_zeros() -> None:
    """Nothing is divided by nothing, and no connection is made."""
    with IdClient("amqp://127.0.0.1:1/") as client:
        stats = client.stats()
    assert (stats.calls, stats.calls_per_request, stats.round_trips.mean) == (0, 0, 0)
    assert not stats.connected


def test_sequences_are_counted() -> None:
    """Leases, ids in memory, and what closing gives up."""
    with FakeIdClient({"order": 1}) as client:
        with client.sequence("order", floor=10) as ids:
            assert [next(ids) for _ in range(5)] == [1, 2, 3, 4, 5]
            during = client.stats().sequences
        after = client.stats().sequences
    assert (during.open, during.left, during.ids_unused) == (1, during.ids_leased - 5, 0)
    assert (after.open, after.left, after.ids_unused) == (0, 0, after.ids_leased - 5)
    assert after.leases * 10 == after.ids_leased


def test_failed_leases_are_counted() -> None:
    """A sequence that cannot lease says so here too."""
    with FakeIdClient({"order": 1}) as client:
        client.fail_next(RespCode.FORBIDDEN, times=100)
        ids = client.sequence("order", timeout=0)
        with pytest.raises(Exception, match="forbidden"):
            next(ids)
        assert client.stats().sequences.leases_failed


def test_cancelled_calls_are_counted() -> None:
    """A task that is cancelled while it waits is neither served nor failed."""

    async def run() -> None:
        async with AsyncFakeIdClient({"order": 1}) as client:
            task = asyncio.create_task(client.next_id("order"))
            await asyncio.sleep(0)
            assert client.stats().waiting == 1
            task.cancel()
            await asyncio.wait([task])
            assert (client.stats().cancelled, client.stats().waiting) == (1, 0)

    asyncio.run(run())


def test_a_call_out_of_time_is_counted_once() -> None:
    """It fails when its time is up, and is found to have gone later."""
    counters = ClientCounters()
    counters.overdue(TimeoutError())
    counters.abandoned += 1
    assert (counters.failed, counters.abandoned) == ({"TimeoutError": 1}, 0)


def test_cancelled_never_goes_back() -> None:
    """It is a counter; and a call that ran out of time does not wait as well."""
    counters = ClientCounters()
    shown = []
    counters.abandoned = 3  # were cancelled, and found so
    for _ in range(2):  # run out of time
        counters.overdue(TimeoutError())
    shown.append(snapshot(counters, waiting=2 + 5, connected=True, sequences=SequenceStats()))
    counters.abandoned += 2  # they are found, too
    shown.append(snapshot(counters, waiting=5, connected=True, sequences=SequenceStats()))
    fresh = snapshot(ClientCounters(), waiting=0, connected=True, sequences=SequenceStats())
    assert (fresh.cancelled, fresh.waiting) == (0, 0)
    for stats in shown[1:]:
        assert (stats.cancelled, stats.waiting, stats.calls) == (3, 5, 10)
    assert shown[0].calls == 10
    assert shown[0].cancelled <= 3


def test_a_counter_that_was_shown_stays() -> None:
    """Prometheus takes a counter that goes back for a restart."""
    counters = ClientCounters()
    counters.abandoned = 3
    before = snapshot(counters, waiting=9, connected=True, sequences=SequenceStats())
    counters.overdue(TimeoutError())
    after = snapshot(counters, waiting=9, connected=True, sequences=SequenceStats())
    assert (before.cancelled, after.cancelled) == (3, 3)
    assert (before.calls, after.calls) == (12, 12)


def test_round_trips_are_cumulative() -> None:
    """As Prometheus wants them; what lies on a bound is within it."""
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(seconds)
    trips = RoundTrips.of(histogram)
    assert trips.buckets == ((0.1, 2), (1.0, 3), (float("inf"), 4))
    assert trips.mean == pytest.approx(7.65 / 4)


def test_prometheus_shows_what_the_client_says() -> None:
    """Each counter appears under its name, with the client's."""
    registry = CollectorRegistry()
    registry.register(ClientCollector(used_client(), name="shop"))
    shown = generate_latest(registry).decode()
    for line in (
        'idalloc_client_calls_total{client="shop",outcome="served"} 2.0',
        'idalloc_client_calls_total{client="shop",outcome="AppTagNotFoundError"} 1.0',
        'idalloc_client_ids_total{client="shop"} 10.0',
        'idalloc_client_connected{client="shop"} 1.0',
        'idalloc_client_round_trip_seconds_bucket{client="shop",le="+Inf"} 0.0',
    ):
        assert line in shown.splitlines()
