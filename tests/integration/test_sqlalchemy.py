"""SQLAlchemy's tables with ids of ours: Core, ORM and bulk inserts, sync and async engines."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from devstack import Database
from devstack.workers import Fleet
from idalloc_client import AppTagNotFoundError, AsyncIdClient, IdClient, PeriodError
from idalloc_client.testing import AsyncFakeIdClient, FakeIdClient

sqlalchemy = pytest.importorskip(
    "sqlalchemy", reason="run: .venv/bin/pip install -c constraints.txt -e '.[orm]'"
)
pytest.importorskip("aiosqlite", reason="the extra `orm` brings it")

from sqlalchemy import BigInteger, Column, MetaData, String, Table, create_engine, insert, select  # noqa: E402
from sqlalchemy.exc import MissingGreenlet, StatementError  # noqa: E402
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine  # noqa: E402
from sqlalchemy.orm import Session, registry  # noqa: E402

from idalloc_client.sqlalchemy import NextId  # noqa: E402

Client = IdClient | AsyncIdClient


def orders(client: Client | Callable[[], Client], tag: str = "order", **options: bool) -> Table:
    return Table(
        "orders",
        MetaData(),
        Column("id", BigInteger, primary_key=True, default=NextId(tag, client, **options)),
        Column("customer", String(50)),
    )


def mapped(table: Table) -> Any:
    class Order:
        def __init__(self, customer: str) -> None:
            self.customer = customer

    registry().map_imperatively(Order, table)
    return Order


@pytest.mark.parametrize("leased", [True, False])
def test_core_orm_and_bulk_inserts(leased: bool) -> None:  # noqa: FBT001
    """One id for each row, and none where one is given."""
    table = orders(FakeIdClient({"order": 1}), leased=leased)
    engine = create_engine("sqlite://")
    table.metadata.create_all(engine)
    order = mapped(table)
    with Session(engine) as session:
        single = order("orm")
        session.add(single)
        session.flush()
        assert single.id == 1
        session.execute(insert(table), [{"customer": "core"} for _ in range(3)])
        session.execute(insert(order), [{"customer": "bulk"} for _ in range(3)])
        session.execute(insert(table), {"id": 900, "customer": "given"})
        session.add_all([order("unit of work") for _ in range(3)])
        session.commit()
        ids = session.scalars(select(table.c.id).order_by(table.c.id)).all()
    engine.dispose()
    assert ids == [*range(1, 11), 900]


def test_an_error_reaches_the_caller_and_stores_nothing() -> None:
    """As SQLAlchemy tells what a default raises."""
    table = orders(FakeIdClient({"order": 1}), tag="unknown")
    engine = create_engine("sqlite://")
    table.metadata.create_all(engine)
    with Session(engine) as session, pytest.raises(StatementError) as error:
        session.execute(insert(table), {"customer": "a"})
    engine.dispose()
    assert isinstance(error.value.orig, AppTagNotFoundError)


@pytest.mark.parametrize("leased", [True, False])
def test_a_number_of_a_period_is_no_key(leased: bool) -> None:  # noqa: FBT001
    """Without its period it would come twice: nothing is stored, and the error names the call."""
    table = orders(FakeIdClient(periods={"invoice": "2026-11"}), tag="invoice", leased=leased)
    engine = create_engine("sqlite://")
    table.metadata.create_all(engine)
    with Session(engine) as session:
        with pytest.raises(StatementError) as error:
            session.execute(insert(table), {"customer": "a"})
        assert not session.scalars(select(table.c.id)).all()
    engine.dispose()
    assert isinstance(error.value.orig, PeriodError)
    assert "next_number" in str(error.value)


@pytest.mark.parametrize("leased", [True, False])
def test_an_async_engine_waits_with_its_task(leased: bool) -> None:  # noqa: FBT001
    """The client is made on the loop, after the table, and another one on the next loop."""
    clients: list[AsyncIdClient] = []
    table = orders(lambda: clients[-1], leased=leased)

    async def store() -> list[int]:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with AsyncFakeIdClient({"order": 1}) as client, engine.begin() as connection:
            clients.append(client)
            await connection.run_sync(table.metadata.create_all)
            await connection.execute(insert(table), [{"customer": "a"} for _ in range(3)])
            ids = list(await connection.scalars(select(table.c.id)))
        await engine.dispose()
        return ids

    assert asyncio.run(store()) == [1, 2, 3]
    assert asyncio.run(store()) == [1, 2, 3]


def test_an_async_client_needs_an_async_engine() -> None:
    """SQLAlchemy says so; nothing is stored."""

    async def store() -> None:
        async with AsyncFakeIdClient({"order": 1}) as client:
            table = orders(client)
            engine = create_engine("sqlite://")
            table.metadata.create_all(engine)
            with engine.begin() as connection, pytest.raises(StatementError) as error:
                connection.execute(insert(table), {"customer": "a"})
            engine.dispose()
            assert isinstance(error.value.orig, MissingGreenlet)

    asyncio.run(store())


@pytest.mark.long
def test_many_tasks_insert_into_mysql(fleet: Fleet, database: Database) -> None:
    """A hundred tasks store 10,000 rows with ids of real workers: each has its own."""
    fleet.start()
    database.query("INSERT INTO segments (app_tag, max_id, step) VALUES ('order', 0, 1000)")
    url = database.url.replace("mysql://", "mysql+asyncmy://")

    async def store() -> list[int]:
        engine = create_async_engine(url, pool_size=10, max_overflow=0, pool_timeout=300)
        async with AsyncIdClient(fleet.amqp_url, timeout=60) as client:
            table = orders(client)
            order = mapped(table)
            async with engine.begin() as connection:
                await connection.run_sync(table.metadata.create_all)

            async def some() -> None:
                for _ in range(10):
                    async with AsyncSession(engine) as session:
                        session.add_all([order("task") for _ in range(10)])
                        await session.commit()

            await asyncio.gather(*(some() for _ in range(100)))
            async with engine.connect() as connection:
                ids = list(await connection.scalars(select(table.c.id)))
        await engine.dispose()
        return ids

    ids = asyncio.run(store())
    assert len(ids) == len(set(ids)) == 10_000
