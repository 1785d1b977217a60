"""Nodes of other id generators as idalloc's rows see them: their statements and what they keep.

Each reserves with the statements of the original, and hands out what the original would. Sources:
Leaf's `SegmentIDGenImpl` and `IDAllocMapper` (github.com/Meituan-Dianping/Leaf), tinyid's
`DbSegmentIdServiceImpl`, `TinyIdInfoDAOImpl` and `SegmentId` (github.com/didi/tinyid), CosId's
`JdbcIdSegmentDistributor`, `DefaultIdSegment` and `init-cosid-mysql.sql`
(github.com/Ahoo-Wang/CosId), Vitess's `query_executor.go` (github.com/vitessio/vitess).
"""

import random
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any

from pymysql.connections import Connection

from devstack import Database
from devstack.history import Reply
from devstack.servers._database import connect

LEAF_TABLE = """
CREATE TABLE leaf_alloc (
  biz_tag VARCHAR(128) NOT NULL DEFAULT '', max_id BIGINT NOT NULL DEFAULT 1, step INT NOT NULL,
  description VARCHAR(256) DEFAULT NULL,
  update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (biz_tag)
) ENGINE = InnoDB"""

TINYID_TABLE = """
CREATE TABLE tiny_id_info (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, biz_type VARCHAR(63) NOT NULL DEFAULT '',
  begin_id BIGINT NOT NULL DEFAULT 0, max_id BIGINT NOT NULL DEFAULT 0, step INT DEFAULT 0,
  delta INT NOT NULL DEFAULT 1, remainder INT NOT NULL DEFAULT 0,
  create_time TIMESTAMP NOT NULL DEFAULT '2010-01-01 00:00:00',
  update_time TIMESTAMP NOT NULL DEFAULT '2010-01-01 00:00:00',
  version BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (id), UNIQUE KEY uniq_biz_type (biz_type)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb3"""

COSID_TABLE = """
CREATE TABLE cosid (
  name VARCHAR(100) NOT NULL COMMENT '{namespace}.{name}',
  last_max_id BIGINT UNSIGNED NOT NULL DEFAULT 0,
  last_fetch_time BIGINT UNSIGNED NOT NULL DEFAULT 0,
  CONSTRAINT cosid_pk PRIMARY KEY (name)
) ENGINE = InnoDB"""

VITESS_TABLE = """
CREATE TABLE order_seq (id INT, next_id BIGINT, cache BIGINT, PRIMARY KEY (id))
  COMMENT 'vitess_sequence'"""


class TagGoneError(Exception):
    """The node's table has no row for the tag."""


class OldNode(ABC):
    """A process of the old system, with two segments in memory. Owned by one thread at a time."""

    def __init__(self, name: str, app_tag: str) -> None:
        self.name = name
        self._app_tag = app_tag
        self._segments: deque[tuple[str, deque[int]]] = deque()
        self._connections: dict[Database, Connection] = {}

    @abstractmethod
    def reserve(self) -> Sequence[int]:
        """Reserve a segment and list its ids, lowest first. Raises TagGoneError."""

    @property
    def source(self) -> str:
        """Name the counter of the last segment; ids of one counter and node rise."""
        return self.name

    def close(self) -> None:
        """Log out everywhere. Idempotent."""
        while self._connections:
            self._connections.popitem()[1].close()

    def _connected(self, database: Database) -> Connection:
        if database not in self._connections:
            self._connections[database] = connect(database.server_url, database.name)
        return self._connections[database]

    def draw(self) -> Reply:
        """Hand out the next id."""
        sent_at = time.monotonic()
        while len(self._segments) < 2:
            ids = self.reserve()
            self._segments.append((self.source, deque(ids)))
        source, ids_left = self._segments[0]
        one = ids_left.popleft()
        if not ids_left:
            self._segments.popleft()
        return Reply(self._app_tag, ((one, one + 1),), source, self.name, sent_at, time.monotonic())


class LeafNode(OldNode):
    """Leaf in segment mode; its step does not change, as if each lasted 15 to 30 minutes.

    The reference service in Go does the same in a table with other names.
    """

    def __init__(
        self,
        name: str,
        app_tag: str,
        database: Database,
        table: str = "leaf_alloc",
        key: str = "biz_tag",
    ) -> None:
        super().__init__(name, app_tag)
        self._database = database
        self._move = f"UPDATE {table} SET max_id = max_id + step WHERE {key} = %s"
        self._read = f"SELECT {key}, max_id, step FROM {table} WHERE {key} = %s"

    def reserve(self) -> range:
        connection = self._connected(self._database)
        with connection.cursor() as cursor:
            connection.begin()
            cursor.execute(self._move, (self._app_tag,))
            cursor.execute(self._read, (self._app_tag,))
            row = cursor.fetchone()
            connection.commit()
        if row is None:
            raise TagGoneError(self._app_tag)
        return range(row[1] - row[2], row[1])


class TinyIdNode(OldNode):
    """A tinyid server, or a process with its client, which keeps segments in the same way."""

    def __init__(self, name: str, app_tag: str, databases: Sequence[Database]) -> None:
        super().__init__(name, app_tag)
        self._databases = databases
        self._chance = random.Random(name)
        self._source = name

    @property
    def source(self) -> str:
        return self._source

    def reserve(self) -> Sequence[int]:
        while True:
            database = self._chance.choice(self._databases)
            self._source = f"{self.name} {database.name}"
            if ids := self._try(self._connected(database)):
                return ids

    def _try(self, connection: Connection) -> Sequence[int]:
        """Read the row, move its mark if nobody else did; nothing if somebody did."""
        columns = "id, max_id, step, delta, remainder, version"
        with connection.cursor() as cursor:
            connection.begin()
            cursor.execute(
                f"SELECT {columns} FROM tiny_id_info WHERE biz_type = %s", (self._app_tag,)
            )
            row: tuple[Any, ...] | None = cursor.fetchone()
            if row is None:
                connection.rollback()
                raise TagGoneError(self._app_tag)
            key, mark, step, delta, remainder, version = row
            moved = cursor.execute(
                "UPDATE tiny_id_info SET max_id = %s, update_time = NOW(), version = version + 1 "
                "WHERE id = %s AND max_id = %s AND version = %s AND biz_type = %s",
                (mark + step, key, mark, version, self._app_tag),
            )
            connection.commit()
        if not moved:
            return ()
        return [one for one in range(mark + 1, mark + step + 1) if one % delta == remainder]


class CosIdNode(OldNode):
    """A process with CosId's segments; a chain of them reserves in the same way."""

    def __init__(self, name: str, app_tag: str, database: Database, step: int = 10) -> None:
        super().__init__(name, app_tag)
        self._database = database
        self._step = step

    def reserve(self) -> range:
        connection = self._connected(self._database)
        with connection.cursor() as cursor:
            connection.begin()
            moved = cursor.execute(
                "update cosid set last_max_id=(last_max_id + %s),last_fetch_time=unix_timestamp() "
                "where name = %s",
                (self._step, f"shop.{self._app_tag}"),
            )
            if not moved:
                connection.rollback()
                raise TagGoneError(self._app_tag)
            cursor.execute(
                "select last_max_id from cosid where name = %s", (f"shop.{self._app_tag}",)
            )
            last = int(cursor.fetchall()[0][0])
            connection.commit()
        return range(last - self._step + 1, last + 1)


class VitessTablet(OldNode):
    """The tablet that serves a sequence; one is the primary at a time."""

    def __init__(self, name: str, app_tag: str, database: Database) -> None:
        super().__init__(name, app_tag)
        self._database = database
        self._last = 0

    def reserve(self) -> range:
        table = f"{self._app_tag}_seq"
        connection = self._connected(self._database)
        with connection.cursor() as cursor:
            connection.begin()
            cursor.execute(f"select next_id, cache from {table} where id = 0 for update")
            row = cursor.fetchone()
            if row is None:
                connection.rollback()
                raise TagGoneError(self._app_tag)
            next_id = max(int(row[0]), self._last)
            self._last = next_id + int(row[1])
            cursor.execute(f"update {table} set next_id = {self._last} where id = 0")
            connection.commit()
        return range(next_id, self._last)
