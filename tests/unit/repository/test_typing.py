"""The public types as a consumer's type checkers see them: mypy, and pyright's engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONSUMER = """
import asyncio
from collections.abc import Iterator, Mapping
from typing import assert_type

from idalloc_client import (
    AsyncIdClient, AsyncIdSequence, CallTimeoutError, ClientStats, IdAllocError, IdBatch, IdClient,
    IdSequence, Period, PeriodError, PeriodId, RefusedError, RoundTrips, SequenceStats,
)
from idalloc_client.prometheus import ClientCollector
from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient
from idalloc_client.text import Base62, FixedDecimal, KeyedPermutation, Number
from idalloc_schemas import HealthReply, RespCode


def threads(client: IdClient) -> None:
    assert_type(client.next_id("order"), int)
    batch = client.next_ids("order", 500, timeout=2.0)
    assert_type(batch, IdBatch)
    assert_type(batch[0], int)
    assert_type(list(batch), list[int])
    assert_type(batch.ranges, tuple[tuple[int, int], ...])
    assert_type(client.health(), HealthReply)
    with client.sequence("order", floor=10, cap=100, cover=1.0) as ids:
        assert_type(ids, IdSequence)
        assert_type(next(ids), int)
        assert_type(ids.cover, float)
    stats = client.stats()
    assert_type(stats, ClientStats)
    assert_type(stats.failed, Mapping[str, int])
    assert_type(stats.round_trips, RoundTrips)
    assert_type(stats.sequences, SequenceStats)
    ClientCollector(client, name="shop")
    try:
        client.next_id("order")
    except CallTimeoutError as late:
        raise TimeoutError from late
    except RefusedError as refused:
        assert_type(refused.code, RespCode)
        assert_type(refused.retry_after, float | None)
    except IdAllocError:
        pass


async def tasks(client: AsyncIdClient) -> None:
    assert_type(await client.next_id("order"), int)
    assert_type(await client.next_ids("order", 3), IdBatch)
    task = asyncio.create_task(client.next_id("order"))
    assert_type(await task, int)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.next_id("order"))
    sequence = client.sequence("order")
    assert_type(sequence, AsyncIdSequence)
    assert_type(await anext(sequence), int)
    async for value in sequence:
        assert_type(value, int)
        break
    assert_type(client.stats(), ClientStats)


def texts(base62: Base62, decimal: FixedDecimal, hidden: KeyedPermutation) -> None:
    assert_type(base62.decode(base62.encode(7)), int)
    assert_type(decimal.encode(7), str)
    assert_type(hidden.encode(7), int)


def numbers(client: IdClient, invoice: Number) -> None:
    period, number = client.next_number("invoice")
    assert_type(period, Period)
    assert_type(Period.parse("2026-11"), Period)
    assert_type(number, int)
    assert_type(client.next_numbers("invoice", 3), list[PeriodId])
    assert_type(invoice.decode(invoice.encode(client.next_number("invoice"))), PeriodId)
    try:
        client.next_id("invoice")
    except PeriodError as error:
        assert_type(error.ids, IdBatch)
        assert_type(error.ids.period, Period | None)


def fakes() -> Iterator[IdClient]:
    with FakeIdClient({"order": 1}, segment=3) as client:
        client.fail_next(RespCode.BUSY, times=2)
        yield client
    asyncio.run(tasks(AsyncFakeIdClient(any_tag=True)))
"""

MISUSE = """
from idalloc_client import AsyncIdClient, IdClient

def wrong(client: IdClient, other: AsyncIdClient) -> str:
    client.next_id(7)
    client.next_ids("order", "many")
    number: str = client.next_id("order")
    later: int = other.next_id("order")
    return number
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a consumer's project: it knows nothing of this checkout but what is installed."""
    folder = tmp_path_factory.mktemp("consumer")
    (folder / "consumer.py").write_text(CONSUMER)
    (folder / "misuse.py").write_text(MISUSE)
    settings = {"typeCheckingMode": "strict", "venvPath": str(Path(sys.prefix).parent)}
    (folder / "pyrightconfig.json").write_text(
        json.dumps({**settings, "venv": Path(sys.prefix).name, "reportUnusedImport": False})
    )
    return folder


def mypy(folder: Path, name: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file="]
    command += ["--hide-error-context", "--cache-dir", str(folder / "cache"), name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def pyright(folder: Path, name: str) -> dict[str, object]:
    command = [sys.executable, "-m", "basedpyright", "--outputjson", name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    report: dict[str, object] = json.loads(done.stdout)
    return report


def errors(report: dict[str, object]) -> list[str]:
    found = report["generalDiagnostics"]
    assert isinstance(found, list)
    return [f"{each['range']['start']['line'] + 1}: {each['message']}" for each in found]


@pytest.mark.long
def test_mypy_accepts_a_consumer(folder: Path) -> None:
    """Strictly: nothing public is untyped, and each type is what the documentation says."""
    assert mypy(folder, "consumer.py") == ""


def test_mypy_finds_misuse(folder: Path) -> None:
    """The types are narrow enough to be of use: each of the mistakes is one line of errors."""
    found = [line for line in mypy(folder, "misuse.py").splitlines() if ": error:" in line]
    assert [line.split(":")[1] for line in found] == ["5", "6", "7", "8"]


@pytest.mark.long
def test_pyright_accepts_a_consumer(folder: Path) -> None:
    """In its strict mode."""
    assert errors(pyright(folder, "consumer.py")) == []


def test_pyright_finds_misuse(folder: Path) -> None:
    """The same four mistakes."""
    found = errors(pyright(folder, "misuse.py"))
    assert {error.split(":")[0] for error in found} == {"5", "6", "7", "8"}
