"""Where a worker's spans go: who decides that, and what is done at a stop."""

import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from idalloc_worker.traces import _provider
from idalloc_worker.traces._provider import Tracing
from idalloc_worker.traces._spans import Spans

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def spans(tracing: Tracing) -> Any:
    return tracing.new_traces(lambda *_: None)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
    ids=["nothing", "empty", "disabled", "none"],
)
def test_nothing_is_shown_unless_it_is_said_where(environ: dict[str, str]) -> None:
    """By OpenTelemetry's own variables, which also switch it off."""
    tracing = Tracing.start("worker", "segments", environ)
    assert spans(tracing) is None
    tracing.stop()


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
)
def test_spans_go_where_the_environment_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the service's name, unless the environment has another one."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=ids")
    tracing = Tracing.start("worker 7", "segments", {name: "http://127.0.0.1:9"})
    provider: Any = tracing.provider
    try:
        assert isinstance(spans(tracing), Spans)
        attributes = provider.resource.attributes
        assert attributes["service.name"] == "idalloc-worker"
        assert attributes["service.instance.id"] == "worker 7"
        assert attributes["service.namespace"] == "ids"
    finally:
        tracing.stop()


def test_a_name_that_the_environment_gives_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the operator's to choose."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ids")
    tracing = Tracing.start("worker", "segments", ENDPOINT)
    provider: Any = tracing.provider
    tracing.stop()
    assert provider.resource.attributes["service.name"] == "ids"


def test_what_runs_the_worker_may_have_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """`opentelemetry-instrument` has set a provider up, and shuts it down."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracing = Tracing.start("worker", "segments", {})
    assert tracing.provider is provider
    assert tracing.shut_down is None
    tracing.stop()


@pytest.mark.parametrize(
    "missing", ["opentelemetry", "opentelemetry.exporter.otlp.proto.http.trace_exporter"]
)
def test_what_is_not_installed_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where spans are wanted; else nobody misses it."""
    monkeypatch.setitem(sys.modules, missing, None)
    assert Tracing.start("worker", "segments", {}).provider is None
    assert not caplog.records
    assert Tracing.start("worker", "segments", ENDPOINT).provider is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "idalloc[worker,otlp]" in record.getMessage()


def test_a_collector_that_is_away_holds_no_stop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not sent by then is lost: the worker's place is wanted."""
    monkeypatch.setattr(_provider, "_LAST_SPANS", 0.01)
    answered = threading.Event()

    def shut_down() -> None:
        answered.wait(60)

    Tracing(None, "segments", shut_down).stop()
    assert not answered.is_set()
    answered.set()


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
import idalloc_client._traces as of_client
from idalloc_worker.process import run_worker
from idalloc_worker.traces import Tracing
assert of_client.begin_call is None
assert Tracing.start("worker", "segments", {}).new_traces(print) is None
"""


def test_everything_works_without_opentelemetry() -> None:
    """Neither the client nor the worker needs it."""
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)
