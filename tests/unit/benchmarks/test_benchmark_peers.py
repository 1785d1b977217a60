"""What the benchmarks measure idalloc against: peers that do the same work, and honest loads."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from benchmarks.harness import site as _site
from benchmarks.harness.environment import durability
from benchmarks.harness.runner import BenchmarkError
from benchmarks.peers import echo_peer as _echo_peer
from benchmarks.peers import wrk as _wrk
from benchmarks.peers.mysql_peer import mysql_ids
from benchmarks.races import http_reference
from benchmarks.races.in_process import FedEngine, call_rate
from devstack import Database
from devstack.servers import _mysql
from idalloc_schemas import AllocReply

WRK = """\
Running 2s test @ http://127.0.0.1:8880/alloc?app_tag=test_business
  2 threads and 256 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     7.23ms    9.12ms  82.70ms   89.12%
    Req/Sec    17.93k     8.40k   34.50k    58.97%
  71168 requests in 2.10s, 10.78MB read
{faults}Requests/sec:  33948.37
Transfer/sec:      5.14MB
"""


def echo_reply() -> bytes:
    """Have the echo's server answer once."""
    sent: list[bytes] = []

    class Channel:
        def basic_publish(self, _exchange: str, _key: str, body: bytes, _properties: Any) -> None:
            sent.append(body)

    class Properties:
        reply_to = "amq.rabbitmq.reply-to.x"

    _echo_peer._replier(iter([7]))(Channel(), None, Properties(), _echo_peer.REQUEST)
    return sent[0]


def aio_pika_reply() -> bytes:
    worker = pytest.importorskip("benchmarks.peers.aio_pika_worker", exc_type=ImportError)
    reply: bytes = worker.reply(_echo_peer.REQUEST)
    return reply


def faststream_reply() -> bytes:
    peer = pytest.importorskip("benchmarks.peers.faststream_peer", exc_type=ImportError)
    reply: BaseModel = peer.Reply(resp_code=0, msg="success", id=7, ranges=[(7, 8)])
    return reply.model_dump_json().encode()


@pytest.mark.parametrize(
    "reply",
    [echo_reply, aio_pika_reply, faststream_reply],
    ids=["echo", "aio-pika", "FastStream"],
)
def test_peers_reply_as_the_contract_says(reply: Callable[[], bytes]) -> None:
    """So a client that calls idalloc can call them, and their replies are no shorter."""
    body = reply()
    assert body.startswith(b'{"resp_code":0')  # what the raw requests look at
    answer = AllocReply.model_validate_json(body)
    assert answer.ranges == [(answer.id, answer.id + 1)]
    assert list(json.loads(body)) == ["resp_code", "msg", "id", "ranges"]


def test_the_rate_that_wrk_tells() -> None:
    """It is read from its line, whatever else wrk prints."""
    assert _wrk.parse(WRK.format(faults="")) == 33948.37
    assert _wrk.parse("Requests/sec:      7\n") == 7


@pytest.mark.parametrize(
    "faults",
    [
        "  Non-2xx or 3xx responses: 26285\n",
        "  Socket errors: connect 0, read 3, write 0, timeout 11\n",
    ],
)
def test_a_load_with_errors_is_no_figure(faults: str) -> None:
    """A service that refuses quickly is not a fast one; what wrk counted is told."""
    with pytest.raises(BenchmarkError, match=faults.strip()):
        _wrk.parse(WRK.format(faults=faults))


@pytest.mark.parametrize("output", ["", "Requests/sec:      0.00\n", "Requests/sec: nan\n"])
def test_a_load_without_answers_is_no_figure(output: str) -> None:
    """What cannot be read is shown."""
    with pytest.raises(BenchmarkError, match="wrk got no answers"):
        _wrk.parse(output)


def script(folder: Path, text: str) -> None:
    """Write a program that stands in for wrk."""
    program = folder / "wrk"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_wrk_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All connections, and whole seconds, since it knows no others."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    script(tmp_path, f'echo "$@" >"{tmp_path}/said"; echo "Requests/sec: 100.00"')
    found = _wrk.load("http://127.0.0.1/alloc", 256, 0.2)
    assert found.rate == 100
    assert found.cpu_per_answer >= 0
    assert (tmp_path / "said").read_text().split() == [
        *("-t2", "-c256", "-d1s", "http://127.0.0.1/alloc")
    ]


def test_wrk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is shown."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    script(tmp_path, "echo 'unable to connect' >&2; exit 1")
    with pytest.raises(BenchmarkError, match="wrk failed: unable to connect"):
        _wrk.load("http://127.0.0.1/alloc", 256, 1)


def test_without_wrk(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is told how to get it."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(BenchmarkError, match="apt-get install wrk"):
        http_reference.check("http://127.0.0.1/")


@pytest.fixture
def wrk_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)


class Service(BaseHTTPRequestHandler):
    """Gives an id for one path only."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/alloc" else 500)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        pass


def test_a_service_is_asked_once_before_the_race(wrk_there: None) -> None:
    """An address that gives no id is named at once, with the reason."""
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = Thread(target=server.serve_forever, name="service")
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        try:
            assert http_reference.check(f"{address}/alloc") == f"{address}/alloc"
            with pytest.raises(BenchmarkError, match="gives no id: HTTP Error 500"):
                http_reference.check(f"{address}/other")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "say --reference-url URL"),
        ("file:///etc/hostname", "not an address of a service over HTTP"),
        ("http://127.0.0.1:1/alloc", "gives no id: .*Connection refused"),
    ],
)
def test_addresses_that_are_none(wrk_there: None, url: str | None, said: str) -> None:
    """Nothing is started for them."""
    with pytest.raises(BenchmarkError, match=said):
        http_reference.check(url)


def test_the_reference_needs_its_address(capsys: pytest.CaptureFixture[str]) -> None:
    """Without it the benchmark says so, and that it could not run."""
    assert http_reference.main(["--rounds", "1"]) == 2
    assert "--reference-url URL" in capsys.readouterr().err


def test_the_engine_alone_hands_out_ids() -> None:
    """Each call gives the next one, across refills: what is measured is not a refusal."""
    engine = FedEngine()
    first = engine.take()
    calls = 3 * FedEngine.step
    for call in range(calls):
        if call % 1000 == 0:
            engine.feed()
        last = engine.take()
    assert first is not None
    assert last is not None
    [[(begin, _)], [(left, right)]] = (list(first), list(last))  # type: ignore[arg-type]
    assert (left, right) == (begin + calls, begin + calls + 1)


def test_calls_are_counted() -> None:
    """All of them, and what is fed in between is not."""
    calls: list[int] = []
    fed: list[int] = []
    rate = call_rate(lambda: calls.append(1), 0.01, between=lambda: fed.append(1))
    assert len(calls) == 1000 * len(fed)
    assert rate > 0


def test_the_peer_in_mysql_draws_one_by_one(database: Database) -> None:
    """Its connections share a row of their own."""
    with mysql_ids(database) as ids:
        assert [one.next_id() for one in ids] == [1, 2]


def test_servers_are_as_durable_as_by_default(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also given ones whose commits are not on disk when they are told; then they are set back."""

    @contextmanager
    def given(*, durable: bool) -> Iterator[Any]:
        assert durable  # for servers of our own, which have a binary log then, where it is usual
        yield SimpleNamespace(mysql_url=database.server_url)

    monkeypatch.setattr(_site, "running_stack", given)
    [(before,)] = database.query("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")
    try:
        database.query("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        with _site.benchmark_stack():
            assert durability(database).startswith("innodb_flush_log_at_trx_commit=1, sync_binlog=")
        assert durability(database).startswith("innodb_flush_log_at_trx_commit=2, ")
    finally:
        database.query(f"SET GLOBAL innodb_flush_log_at_trx_commit = {int(before)}")


def test_a_private_mysql_that_is_durable_has_no_option_about_it() -> None:
    """What its vendor chose holds then, for its log and for the binary log."""
    durable = _mysql.PrivateMySql(durable=True)
    options = [*durable._common(Path()), *durable._replication()]
    assert not [option for option in options if "flush-log" in option or "log-bin" in option]
    quick = _mysql.PrivateMySql()
    assert "--innodb-flush-log-at-trx-commit=2" in quick._common(Path())
    assert quick._replication() == ["--skip-log-bin"]


def test_what_redis_keeps_is_told() -> None:
    """It runs as it is without a configuration, and the results say what that is."""
    race = pytest.importorskip("benchmarks.races.async_singles")
    if race._missing or shutil.which("redis-server") is None:
        pytest.skip("redis-server and the extra `bench` are needed")
    with _site.redis_server() as (port, _):
        told = race.durability(port)
    assert re.search(r"Redis \d.*: appendonly no, save \d+ \d", told)
