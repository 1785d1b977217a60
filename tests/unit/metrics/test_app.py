"""What each path answers, and to whom."""

import json
from pathlib import Path
from typing import Any

import pytest

from idalloc_worker._vitals import CONNECTED, CONSUMING, DATABASE, Vitals
from idalloc_worker.metrics._app import ProbesAndMetrics

WELL = CONNECTED | CONSUMING | DATABASE


class Bench:
    def __init__(self, token_file: Path | None = None) -> None:
        self.vitals = Vitals.make(1)
        self.app = ProbesAndMetrics(self._metrics, self.vitals, token_file)
        self.status, self.headers = "", dict[str, str]()

    @staticmethod
    def _metrics(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"metrics"]

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, dict(headers)

    def get(self, path: str, method: str = "GET", **headers: str) -> str:
        environ = {"PATH_INFO": path, "REQUEST_METHOD": method}
        environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        return b"".join(self.app(environ, self._start)).decode()


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics/", "/livez/x", "", "//metrics"])
def test_there_is_nothing_else(path: str) -> None:
    """A probe of a path that is not there must not pass."""
    bench = Bench()
    bench.get(path)
    assert bench.status == "404 Not Found"


def test_a_process_that_serves() -> None:
    """It is live and ready, in words and as JSON."""
    bench = Bench()
    bench.vitals.beat(1, WELL, 1e12)
    for path, word in (("/livez", "live"), ("/readyz", "ready")):
        assert bench.get(path) == f"{word}\n"
        assert bench.status == "200 OK"
        assert json.loads(bench.get(path, accept="application/json")) == {
            word: True,
            "problems": [],
        }
        assert bench.headers["Content-Type"] == "application/json"
        assert bench.headers["Cache-Control"] == "no-store"


def test_a_process_that_has_no_broker() -> None:
    """It is live, and says what it lacks."""
    bench = Bench()
    bench.vitals.beat(1)
    assert bench.get("/readyz") == "process 1: no connection to the broker\n"
    assert bench.status == "503 Service Unavailable"
    told = json.loads(bench.get("/readyz", accept="text/html, application/json;q=0.9"))
    assert told == {"ready": False, "problems": ["process 1: no connection to the broker"]}
    bench.get("/livez")
    assert bench.status == "200 OK"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_nothing_is_to_be_written(path: str) -> None:
    bench = Bench()
    bench.get(path, "POST")
    assert bench.status == "405 Method Not Allowed"


def test_metrics_want_the_token_that_is_in_the_file(tmp_path: Path) -> None:
    """As it is now: a token that is replaced counts at once. Probes want none."""
    file = tmp_path / "token"
    file.write_text("one\n")
    bench = Bench(file)
    for given in ({}, {"authorization": "Bearer two"}, {"authorization": "Basic one"}):
        bench.get("/metrics", **given)
        assert bench.status == "401 Unauthorized"
        assert bench.headers["WWW-Authenticate"] == "Bearer"
    assert bench.get("/metrics", authorization="Bearer one") == "metrics"
    file.write_text("two")
    assert bench.get("/metrics", authorization="bearer two") == "metrics"
    bench.vitals.beat(1)
    assert bench.get("/livez") == "live\n"


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_a_file_without_a_token_lets_nobody_in(tmp_path: Path, content: bytes | None) -> None:
    """Whatever is sent."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    bench = Bench(file)
    for given in ("", "Bearer ", "Bearer \xff"):
        bench.get("/metrics", authorization=given)
        assert bench.status == "401 Unauthorized"
