"""Requests that stay at one node of a cluster, through an exchange of RabbitMQ 4."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pika
import pytest

from devstack.workers import PATIENCE, Fleet, blocking_connection
from idalloc_client import IdClient
from tests.waiting import wait_until

TAG = "test_business"


@pytest.fixture(autouse=True)
def exchange(vhost: str) -> Iterator[None]:
    with blocking_connection(vhost) as connection:
        version = str((connection._impl.server_properties or {}).get("version", ""))
        if int(version.partition(".")[0]) < 4:
            pytest.skip("x-local-random exchanges come with RabbitMQ 4")
        connection.channel().exchange_declare("id.local", "x-local-random", durable=True)
        yield


def is_taken(vhost: str) -> bool:
    """Tell whether somebody takes what is sent to the exchange."""
    with blocking_connection(vhost) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            channel.basic_publish("id.local", "id.alloc", b"{}", mandatory=True)
        except pika.exceptions.UnroutableError:
            return False
        return True


def test_a_worker_takes_requests_of_its_node(fleet: Fleet) -> None:
    """Also where nobody reads the shared queue: it is not on the way."""
    fleet.start()
    wait_until(lambda: is_taken(fleet.amqp_url))
    with IdClient(fleet.amqp_url, exchange="id.local") as client:
        assert client.next_id(TAG) == 1
        assert client.health(TAG).left


def test_rolling_restarts_lose_no_request(fleet: Fleet) -> None:
    """A worker answers what came to its own queue before it goes, or says to ask another one."""
    fleet.start(2)
    wait_until(lambda: is_taken(fleet.amqp_url))
    stop = threading.Event()

    def ask() -> list[int]:
        ids = []
        with IdClient(fleet.amqp_url, exchange="id.local", timeout=60) as client:
            while not stop.is_set():
                ids.append(client.next_id(TAG))
        assert client.stats().resent == 0
        return ids

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for worker in list(fleet.workers):
                worker.signal(signal.SIGTERM)
                assert worker.wait(PATIENCE) == 0
                fleet.start()
        finally:
            stop.set()
        ids = [value for answers in asking for value in answers.result()]
    assert len(set(ids)) == len(ids)
