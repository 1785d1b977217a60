"""schema.sql and `idalloc init` create the same, once, and say what an older table lacks."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pymysql
import pytest

from devstack import Database
from devstack.servers._database import connect, create_database
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._migrate import migrate
from idalloc_worker.store._schema import SchemaReport, create_schema
from tests.integration.stores import TABLE, address_of, remake_table


@pytest.fixture
def new_address(mysql_url: str, database: Database) -> Iterator[MySqlAddress]:
    """Name a database that does not exist yet, with a name that needs quoting."""
    address = replace(MySqlAddress.parse(mysql_url), database=f"{database.name}-new`")
    yield address
    with closing(connect(mysql_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS `{database.name}-new```")


def rows_of(mysql_url: str, database: str, sql: str) -> list[tuple[object, ...]]:
    with closing(connect(mysql_url, database)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def test_init_creates_what_schema_sql_creates(
    mysql_url: str, database: Database, new_address: MySqlAddress
) -> None:
    """The table of `idalloc init` is the table of schema.sql to the letter, and so is its row."""
    report = create_schema(new_address, TABLE)
    assert report == SchemaReport(
        (f"database {new_address.database}", f"table {TABLE}", "app_tag test_business"), ()
    )
    for sql in (f"SHOW CREATE TABLE {TABLE}", f"SELECT app_tag, max_id, step FROM {TABLE}"):
        assert rows_of(mysql_url, new_address.database, sql) == database.query(sql)


def test_init_takes_any_table_name(database: Database) -> None:
    """The table is the one that the configuration names."""
    report = create_schema(address_of(database), "my$tags")
    assert report.created == ("table my$tags", "app_tag test_business")
    assert database.query("SELECT app_tag FROM `my$tags`") == [("test_business",)]


def test_schema_sql_can_be_run_twice(mysql_url: str, database: Database) -> None:
    """A second run of schema.sql resets neither marks nor steps nor times."""
    database.query(f"UPDATE {TABLE} SET max_id = 500, step = 7, update_time = '2001-01-01'")
    before = database.query(f"SELECT * FROM {TABLE}")
    create_database(mysql_url, database.name)
    assert database.query(f"SELECT * FROM {TABLE}") == before


def test_init_can_be_run_twice(database: Database) -> None:
    """A second `idalloc init` creates nothing, changes nothing and has nothing to warn of."""
    database.query(f"UPDATE {TABLE} SET max_id = 500, step = 7, update_time = '2001-01-01'")
    before = database.query(f"SELECT * FROM {TABLE}")
    assert create_schema(address_of(database), TABLE) == SchemaReport((), ())
    assert database.query(f"SELECT * FROM {TABLE}") == before


def test_init_needs_only_the_right_to_read_where_all_is_there(database: Database) -> None:
    """Repeating init is possible for a user who may not create anything."""
    user = database.name[-12:]
    database.query(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    try:
        database.query(f"GRANT SELECT ON {database.name}.* TO '{user}'@'%'")
        address = replace(address_of(database), user=user, password="pw")
        assert create_schema(address, TABLE) == SchemaReport((), ())
    finally:
        database.query(f"DROP USER '{user}'@'%'")


def test_init_says_what_an_older_table_lacks(database: Database) -> None:
    """Each lack of a table comes with the statement that mends it, and the statements work."""
    remake_table(
        database,
        "app_tag VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL, "
        "max_id BIGINT, step BIGINT, update_time DATETIME",
        "ENGINE = MyISAM",
    )
    report = create_schema(address_of(database), TABLE)
    *warnings, columns = report.warnings
    assert columns.endswith("; to change that: idalloc migrate")
    lacks = [warning.partition("; to change that: ") for warning in warnings]
    assert [lack for lack, _, _ in lacks] == [
        f"table {TABLE}: app_tag has the collation utf8mb4_general_ci, not a binary one",
        f"table {TABLE}: app_tag is not the primary key",
        f"table {TABLE}: nothing keeps step from being 0",
        f"table {TABLE}: its engine is not InnoDB, so a crash can lose commits",
    ]
    for _, _, repair in lacks:
        database.query(repair)
    migrate(address_of(database), TABLE)
    assert create_schema(address_of(database), TABLE).warnings == ()


def test_the_table_refuses_a_step_below_one(database: Database) -> None:
    """The CHECK of schema.sql is in force."""
    with pytest.raises(pymysql.MySQLError, match=r"(?i)check|constraint"):
        database.query(f"UPDATE {TABLE} SET step = 0")


def test_the_table_tells_tags_apart_by_case(database: Database) -> None:
    """`Order` and `order` are two rows."""
    for tag in ("order", "Order"):
        database.query(f"INSERT INTO {TABLE} (app_tag, step) VALUES (%s, 1)", tag)
    assert database.query(f"SELECT COUNT(*) FROM {TABLE}") == [(3,)]
