"""Creates and drops databases with the product's table in them."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.constants import CLIENT

SCHEMA = Path(__file__).resolve().parents[2] / "schema.sql"
SCHEMA_DATABASE = "id_alloc_db"
"""The database that schema.sql creates and fills."""

TIMEOUT = 120


@dataclass(frozen=True)
class Database:
    """A database on a server; opens a connection per query, so that it outlives restarts."""

    server_url: str
    name: str

    @property
    def url(self) -> str:
        return f"{self.server_url}/{self.name}"

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Run one statement, commit, and return its rows."""
        with closing(connect(self.server_url, self.name)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(sql, arguments or None)
                rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
            return list(rows)


def connect(server_url: str, database: str | None = None) -> "pymysql.Connection[Any]":
    """Open a connection that commits by itself, in the time zone and character set of the tests."""
    parts = urlsplit(server_url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        charset="utf8mb4",
        autocommit=True,
        ssl_disabled=True,  # reading the machine's authorities takes ten times the rest
        client_flag=CLIENT.MULTI_STATEMENTS,  # for schema.sql
        connect_timeout=TIMEOUT,
        read_timeout=TIMEOUT,
        write_timeout=TIMEOUT,
    )


def create_database(server_url: str, name: str) -> Database:
    """Create what schema.sql describes, in a database of that name."""
    script = SCHEMA.read_text("utf-8").replace(SCHEMA_DATABASE, name)
    with closing(connect(server_url)) as connection, connection.cursor() as cursor:
        cursor.execute(script)
        while cursor.nextset():
            pass
    return Database(server_url, name)


@contextmanager
def scratch_database(server_url: str) -> Iterator[Database]:
    """Create a database that nobody else uses, with the table of schema.sql; drop it at the end."""
    name = scratch_name("test")
    try:
        yield create_database(server_url, name)
    finally:
        drop_database(server_url, name)


def drop_database(server_url: str, name: str) -> None:
    """Drop the database if it is there."""
    with closing(connect(server_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


def scratch_name(purpose: str) -> str:
    """Return a name that nobody else uses, on any server."""
    return f"idalloc_{purpose}_{secrets.token_hex(6)}"
