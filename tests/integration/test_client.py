"""The client against a real broker, with workers whose answers the tests write."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest

from devstack import PrivateRabbitMq, TcpProxy, private_rabbitmq
from devstack.workers import Fleet, blocking_connection, through
from idalloc_client import (
    AppTagNotFoundError,
    BadReplyError,
    CallTimeoutError,
    ClientClosedError,
    ConnectionLostError,
    IdAllocError,
    IdClient,
    InvalidRequestError,
    NoAvailableIdError,
    NoRouteError,
    ShuttingDownError,
    TooManyCallsError,
    WorkerError,
)
from idalloc_client.amqp._link_thread import LinkThread
from idalloc_schemas import encode_alloc_success
from tests.connected import connect
from tests.descriptors import open_descriptors
from tests.stub_worker import IdCounter, StubWorker, send


def declare(amqp_url: str) -> None:
    """Create the queue, with nobody behind it."""
    with blocking_connection(amqp_url) as connection:
        connection.channel().queue_declare("id.alloc", durable=True)


def in_flight(client: IdClient) -> int:
    """Count the calls that wait."""
    session: Any = client._session
    running = session._running
    return int(running.batcher.calls) if running else 0


def test_single_ids_and_batches(vhost: str) -> None:
    """A call returns what the worker answered."""
    with StubWorker(vhost, IdCounter()), IdClient(vhost) as client:
        assert client.next_id("order") == 1
        assert list(client.next_ids("order", 3)) == [2, 3, 4]
        assert len(client.next_ids("order", 1_000_000)) == 1_000_000


def test_many_calls_share_one_connection(vhost: str, management_url: str) -> None:
    """Calls of many threads are in flight at once and each gets its own answer."""
    held: list[tuple[Any, pika.BasicProperties]] = []

    def answer_in_reverse(channel: Any, request: pika.BasicProperties, _body: bytes) -> None:
        held.append((channel, request))
        if len(held) == 20:  # only a client that does not wait for one reply gets this far
            for number, (where, waiting) in enumerate(reversed(held), start=1):
                send(where, waiting, encode_alloc_success([(number, number + 1)]))

    with (
        StubWorker(vhost, answer_in_reverse),
        IdClient(vhost) as client,
        ThreadPoolExecutor(20) as threads,
    ):
        ids = list(threads.map(lambda n: client.next_id(f"order-{n}"), range(20)))
    assert sorted(ids) == list(range(1, 21))


def test_a_missing_queue_is_an_error_at_once(vhost: str) -> None:
    """A request that cannot be routed fails without waiting for its deadline."""
    with IdClient(vhost, timeout=3600) as client, pytest.raises(NoRouteError, match=r"id\.alloc"):
        client.next_id("order")


def test_nobody_consumes(vhost: str) -> None:
    """A queue without workers ends the call at its deadline, and the request is not left there."""
    declare(vhost)
    with IdClient(vhost) as client:
        connect(client)
        with pytest.raises(CallTimeoutError, match="worker"):
            client.next_id("order", timeout=0.3)
    counter = IdCounter()
    with StubWorker(vhost, counter), IdClient(vhost) as client:
        client.next_id("order")
    assert len(counter.seen) == 1


def test_the_deadline_travels_as_expiration(vhost: str) -> None:
    """The worker can tell how long the caller waits."""
    counter = IdCounter()
    with StubWorker(vhost, counter), IdClient(vhost) as client:
        client.next_id("order", timeout=7)
    request = counter.seen[0]
    assert 0 < int(str(request.expiration)) <= 7000
    assert request.content_type == "application/json"
    assert request.type == "id.alloc.request"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (-1, NoAvailableIdError),
        (-2, InvalidRequestError),
        (-3, AppTagNotFoundError),
        (-8, WorkerError),
        (-99, WorkerError),
    ],
)
def test_error_codes_become_types(vhost: str, code: int, error: type[IdAllocError]) -> None:
    """Each code raises its own type, with the worker's words and the time to retry after."""

    def refuse(channel: Any, request: pika.BasicProperties, _body: bytes) -> None:
        send(channel, request, b'{"resp_code":%d,"msg":"because","retry_after_ms":1500}' % code)

    with StubWorker(vhost, refuse), IdClient(vhost, retry=False) as client:
        with pytest.raises(error, match="because") as caught:
            client.next_id("order")
        assert caught.value.retry_after == 1.5  # type: ignore[attr-defined]
        assert caught.value.app_tag == "order"  # type: ignore[attr-defined]


def test_a_leaving_worker_is_not_the_last_word(vhost: str) -> None:
    """SHUTTING_DOWN is tried again, for as long as the deadline allows."""
    counter = IdCounter()
    leaving = 1

    def refuse_first(channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        nonlocal leaving
        if not leaving:
            counter(channel, request, body)
            return
        leaving -= 1
        send(channel, request, b'{"resp_code":-7,"msg":"","retry_after_ms":50}')

    with StubWorker(vhost, refuse_first), IdClient(vhost) as client:
        assert client.next_id("order") == 1
        leaving = 1_000_000
        with pytest.raises(ShuttingDownError) as caught:
            client.next_id("order", timeout=1.0)
        assert isinstance(caught.value.__cause__, ShuttingDownError)


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"{}", b'{"resp_code":0,"msg":"success","id":5,"ranges":[[5,7]]}'],
)
def test_a_reply_that_breaks_the_contract(vhost: str, body: bytes) -> None:
    """Garbage, or another number of ids than asked for, is an error and not an id."""
    with (
        StubWorker(vhost, lambda channel, request, _: send(channel, request, body)),
        IdClient(vhost) as client,
        pytest.raises(BadReplyError),
    ):
        client.next_id("order")


def test_late_and_foreign_replies_are_harmless(vhost: str) -> None:
    """A reply to a call that ended, or to none, neither breaks the client nor completes another."""
    late: list[pika.BasicProperties] = []

    def answer(channel: Any, request: pika.BasicProperties, _body: bytes) -> None:
        if not late:
            late.append(request)
            return
        foreign = pika.BasicProperties(correlation_id="nobody")
        channel.basic_publish("", request.reply_to, b"junk", foreign)
        channel.basic_publish("", request.reply_to, b"no properties at all")
        send(channel, late[0], encode_alloc_success([(666, 667)]))
        send(channel, request, encode_alloc_success([(5, 6)]))
        send(channel, request, encode_alloc_success([(7, 8)]))

    with StubWorker(vhost, answer), IdClient(vhost) as client:
        connect(client)
        with pytest.raises(CallTimeoutError):
            client.next_id("order", timeout=0.2)
        assert [client.next_id("order") for _ in range(3)] == [5, 5, 5]


@pytest.mark.parametrize("fault", ["drop", "half_close"])
def test_calls_in_flight_survive_a_lost_connection(vhost: str, proxy: TcpProxy, fault: str) -> None:
    """They are sent again on the next connection, within their deadline."""
    asked = threading.Semaphore(0)
    answering = threading.Event()

    def answer(channel: Any, request: pika.BasicProperties, _body: bytes) -> None:
        asked.release()
        if answering.is_set():
            send(channel, request, encode_alloc_success([(5, 6)]))

    with (
        StubWorker(vhost, answer),
        IdClient(through(proxy, vhost), timeout=30) as client,
        ThreadPoolExecutor(10) as threads,
    ):
        calls = [threads.submit(client.next_id, f"order-{n}") for n in range(10)]
        for _ in calls:
            assert asked.acquire(timeout=10)
        answering.set()
        getattr(proxy, fault)()
        assert [call.result(30) for call in calls] == [5] * 10


def test_calls_wait_for_the_broker(vhost: str, proxy: TcpProxy) -> None:
    """A call that begins while the broker is away succeeds once it is back."""
    proxy.refuse()
    with (
        StubWorker(vhost, IdCounter()),
        IdClient(through(proxy, vhost), timeout=30) as client,
        ThreadPoolExecutor(1) as threads,
    ):
        call = threads.submit(client.next_id, "order")
        with pytest.raises(ConnectionLostError, match="no connection"):
            client.next_id("order", timeout=0.5)
        proxy.refuse(on=False)
        assert call.result(30) == 1


def test_a_silent_network_ends_at_the_deadline(vhost: str, proxy: TcpProxy) -> None:
    """Bytes that vanish cost the call its deadline, no more, and the next call works."""
    with StubWorker(vhost, IdCounter()), IdClient(through(proxy, vhost)) as client:
        assert client.next_id("order") == 1
        proxy.pause()
        with pytest.raises(CallTimeoutError):
            client.next_id("order", timeout=0.3)
        proxy.resume()
        assert client.next_id("order", timeout=30) > 1


def test_wrong_credentials_are_named_without_the_password(vhost: str) -> None:
    """The error says that the broker refused the user, and does not repeat the password."""
    parts = urlsplit(vhost)
    host = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=f"nobody:s3cr3t@{host}").geturl()
    with IdClient(url) as client, pytest.raises(ConnectionLostError) as caught:
        client.next_id("order", timeout=3)
    assert "refused" in str(caught.value)
    assert "s3cr3t" not in repr(caught.value)


def test_a_bad_url_is_refused_without_the_password() -> None:
    """A URL that cannot be used is a ValueError that says what one looks like."""
    for url in ("http://u:s3cr3t@h/", "amqp://u:s3cr3t@h:port/", "s3cr3t"):
        with pytest.raises(ValueError, match="amqp") as caught:
            IdClient(url)
        assert "s3cr3t" not in str(caught.value)


def test_bad_arguments_are_refused_before_anything_is_sent(vhost: str) -> None:
    """No queue exists here, so only a check on this side can say what is wrong."""
    with IdClient(vhost) as client:
        for app_tag, count in [("", 1), ("a b", 1), ("é", 1), ("a" * 33, 1), ("a", 0), ("a", -1)]:
            with pytest.raises(InvalidRequestError, match=r"app_tag|count"):
                client.next_ids(app_tag, count)
        for timeout in (-1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="timeout"):
                client.next_id("order", timeout=timeout)


def test_calls_in_flight_are_limited(vhost: str) -> None:
    """One call more than allowed is refused at once; the others are not harmed."""
    declare(vhost)
    with IdClient(vhost, timeout=30, max_in_flight=2) as client, ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(client.next_id, "order") for _ in range(2)]
        while in_flight(client) < 2:
            time.sleep(0.01)
        with pytest.raises(TooManyCallsError):
            client.next_id("order")
        with StubWorker(vhost, IdCounter()):
            assert sorted(call.result(30) for call in calls) == [1, 2]


def test_close_ends_every_call(vhost: str) -> None:
    """Calls in flight and later ones get `ClientClosedError`; a second close does nothing."""
    declare(vhost)
    client = IdClient(vhost, timeout=60)
    with ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(client.next_id, "order") for _ in range(3)]
        while in_flight(client) < 3:
            time.sleep(0.01)
        client.close()
        for call in calls:
            with pytest.raises(ClientClosedError):
                call.result(30)
    client.close()
    with pytest.raises(ClientClosedError):
        client.next_id("order")


def test_nothing_is_left_after_close(vhost: str) -> None:
    """Threads and descriptors are back at their number from before."""
    with StubWorker(vhost, IdCounter()):
        threads, descriptors = threading.active_count(), open_descriptors()
        for _ in range(5):
            with IdClient(vhost) as client:
                client.next_id("order")
        assert threading.active_count() == threads
        assert open_descriptors() == descriptors


def test_an_unused_client_costs_nothing() -> None:
    """The constructor does no I/O, and closing what was never used is fine."""
    threads, descriptors = threading.active_count(), open_descriptors()
    client = IdClient("amqp://nowhere.invalid/")
    assert (threading.active_count(), open_descriptors()) == (threads, descriptors)
    client.close()


@pytest.fixture
def own_broker() -> Iterator[PrivateRabbitMq]:
    with private_rabbitmq() as running:
        yield running


def test_a_blocked_broker_ends_at_the_deadline(own_broker: PrivateRabbitMq) -> None:
    """Under a memory alarm calls time out and say why, and go on when it is over."""
    with StubWorker(own_broker.url, IdCounter()), IdClient(own_broker.url) as client:
        assert client.next_id("order") == 1
        own_broker.ctl("set_vm_memory_high_watermark", "absolute", "1")
        with pytest.raises(CallTimeoutError, match="memory or disk"):
            _call_until_it_fails(client)  # a publish is what makes the broker block us
        own_broker.ctl("set_vm_memory_high_watermark", "0.9")
        assert client.next_id("order", timeout=30) > 1


def _call_until_it_fails(client: IdClient) -> None:
    for _ in range(100):
        client.next_id("order", timeout=0.5)


def test_a_name_that_the_broker_does_not_vouch_for_is_left_out(
    vhost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user may go by another name at the broker: the first request finds out, the rest work."""
    monkeypatch.setattr("idalloc_client._rpc._login.user_id", lambda _parameters: "somebody else")
    with StubWorker(vhost, IdCounter()), IdClient(vhost) as client:
        assert [client.next_id("order"), client.next_id("order")] == [1, 2]
        stats = client.stats()
    assert (stats.connects, stats.connections_lost, stats.resent) == (2, 1, 1)


def test_the_users_name_goes_along(vhost: str) -> None:
    """The broker vouches for it, so that a worker can tell who asks."""
    names: list[str | None] = []

    def answer(channel: Any, request: pika.BasicProperties, body: bytes) -> None:
        names.append(request.user_id)
        IdCounter()(channel, request, body)

    with StubWorker(vhost, answer), IdClient(vhost) as client:
        client.next_id("order")
    assert names == ["guest"]


def test_only_calls_for_ids_are_counted(fleet: Fleet) -> None:
    """A health call that ends at its deadline is no failed call, and hides no cancelled one."""
    (worker,) = fleet.start()
    with IdClient(fleet.amqp_url) as client:
        client.next_id("test_business")
        worker.pause()
        try:
            with pytest.raises(CallTimeoutError):
                client.health(timeout=0.1)
        finally:
            worker.resume()
        client.next_id("test_business", timeout=30)
        stats = client.stats()
    session: Any = client._session
    assert (stats.calls, stats.failed, session._counters.abandoned) == (2, {}, 0)


def test_an_interrupted_entry_leaves_the_client_usable(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C just when a caller is about to wake the thread does not leave the next ones asleep."""
    fleet.start()
    post, interrupts = LinkThread.post, iter([KeyboardInterrupt])

    def interrupted(thread: LinkThread, callback: Callable[[], None]) -> None:
        for interrupt in interrupts:
            raise interrupt
        post(thread, callback)

    with IdClient(fleet.amqp_url) as client:
        client.next_id("test_business")
        monkeypatch.setattr(LinkThread, "post", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.next_id("test_business")
        assert client.next_id("test_business", timeout=30) > 1
