"""The FastAPI example, run with the fake client."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from docs.examples.fastapi_app import app, id_client
from idalloc_client import (
    BusyError,
    CallTimeoutError,
    ClientClosedError,
    IdAllocError,
    TooManyCallsError,
)
from idalloc_client.testing import AsyncFakeIdClient
from idalloc_schemas import ErrorReply, RespCode


@pytest.fixture
def ids() -> AsyncFakeIdClient:
    return AsyncFakeIdClient({"order": 41}, retry=False)


@pytest.fixture
def service(ids: AsyncFakeIdClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("IDALLOC_URL", "amqp://nobody.invalid/")  # never used: so no connection
    monkeypatch.setitem(app.dependency_overrides, id_client, lambda: ids)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_an_order_gets_a_number(service: TestClient) -> None:
    """Each order has the next number, in its format."""
    numbers = [service.post("/orders", json={"item": "tea"}).json()["number"] for _ in range(2)]
    assert numbers == ["ORD-000000000041", "ORD-000000000042"]


def test_an_order_is_created(service: TestClient) -> None:
    """The answer is 201 and holds the order."""
    answer = service.post("/orders", json={"item": "tea"})
    assert answer.status_code == 201
    assert answer.json() == {"item": "tea", "number": "ORD-000000000041"}


@pytest.mark.parametrize(
    "failure",
    [
        RespCode.NO_AVAILABLE_ID,
        RespCode.BUSY,
        RespCode.SHUTTING_DOWN,
        CallTimeoutError("no reply in time"),
        TooManyCallsError("100000 calls are in flight already"),
    ],
)
def test_what_passes_is_unavailable(
    service: TestClient, ids: AsyncFakeIdClient, failure: IdAllocError | RespCode
) -> None:
    """A failure that passes becomes 503 with whole seconds in Retry-After; then it goes on."""
    ids.fail_next(failure)
    answer = service.post("/orders", json={"item": "tea"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert service.post("/orders", json={"item": "tea"}).status_code == 201


@pytest.mark.parametrize(
    "failure",
    [
        RespCode.APP_TAG_NOT_FOUND,
        RespCode.INVALID_REQUEST,
        RespCode.EXHAUSTED,
        RespCode.FORBIDDEN,
        RespCode.INTERNAL,
        ClientClosedError("the client is closed"),
    ],
)
def test_what_does_not_pass_is_a_fault(
    service: TestClient, ids: AsyncFakeIdClient, failure: IdAllocError | RespCode
) -> None:
    """A failure that a repeat cannot cure becomes 500: nobody is asked to come again."""
    ids.fail_next(failure)
    answer = service.post("/orders", json={"item": "tea"})
    assert answer.status_code == 500
    assert "retry-after" not in answer.headers


def test_retry_after_is_rounded_up(service: TestClient, ids: AsyncFakeIdClient) -> None:
    """A pause of 2.5 seconds is told as 3: HTTP knows whole seconds only."""
    busy = ErrorReply(resp_code=RespCode.BUSY, msg="busy", retry_after_ms=2500)
    ids.fail_next(BusyError(busy))
    answer = service.post("/orders", json={"item": "tea"})
    assert answer.headers["retry-after"] == "3"


def test_the_application_closes_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lifespan makes the client and closes it when the application ends."""
    monkeypatch.setenv("IDALLOC_URL", "amqp://nobody.invalid/")
    with TestClient(app) as client:
        ids = client.app_state["ids"]
        assert not ids._closed
    assert ids._closed
