"""One table of a database in memory: executes the product's own statements, as far as stores go.

It reads their conditions: one more or less shows. A test may step in before each statement, as
another worker, a proxy or a fault would.
"""

import operator
import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final, Self

from pymysql.err import OperationalError

Row = dict[str, Any]

SERVER_GONE: Final = 2013
"""PyMySQL's number for a connection that was lost during a statement."""

_UPDATE: Final = re.compile(r"UPDATE `\w+` SET max_id = %\((\w+)\)s WHERE (.+)", re.DOTALL)
_BY_COLLATION: Final = "app_tag = %(app_tag)s"
_BY_BYTES: Final = "CAST(app_tag AS BINARY) = CAST(%(app_tag)s AS BINARY)"
_COMPARED: Final = re.compile(r"(?:CAST\(CONVERT\()?(\w+)\b.*?(<=>|=) .*?%\((\w+)\)s.*")
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": lambda left, right: left is not None and left == right,
    "<=>": operator.eq,
}


class FakeMySql:
    """Rows by tag, all its connections, and what was sent to it."""

    def __init__(self, **marks: int) -> None:
        self.rows: dict[str, Row] = {}
        for app_tag, mark in marks.items():
            self.rows[app_tag] = {
                "app_tag": app_tag,
                "max_id": mark,
                "step": 10,
                "target_cover": 0,
                "ordered": 0,
                "ceiling": None,
                "allowed_users": None,
            }
        self.statements: list[str] = []
        self.sessions = count(1)
        self.before: Callable[[str], None] = lambda _sql: None
        """Called before each statement, COMMIT among them; what it raises is the answer."""
        self.after: Callable[[str], None] = lambda _sql: None
        """Called after each, when what it does is done."""

    def connect(self, *_: object, **__: object) -> "FakeConnection":
        """Log in."""
        return FakeConnection(self)

    def sent(self, word: str) -> int:
        """Count the statements that begin so."""
        return sum(sql.startswith(word) for sql in self.statements)


class FakeConnection:
    """As PyMySQL's, in autocommit mode."""

    def __init__(self, server: FakeMySql) -> None:
        self._server = server
        self.session = next(server.sessions)
        self._undo: dict[str, Row] | None = None
        self.description: list[tuple[str]] = []
        self._found: list[tuple[Any, ...]] = []

    def begin(self) -> None:
        """Start a transaction."""
        self._run("BEGIN", lambda: 0)
        self._undo = {tag: dict(row) for tag, row in self._server.rows.items()}

    def commit(self) -> None:
        """End it."""
        self._run("COMMIT", self._commit)

    def rollback(self) -> None:
        """Undo it."""
        if self._undo is not None:
            self._server.rows, self._undo = self._undo, None

    def close(self) -> None:
        """Log out; a transaction is undone."""
        self.rollback()

    def cursor(self) -> Self:
        """Be one's own."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, sql: str, arguments: Mapping[str, Any] | None = None) -> int:
        """Run a statement."""
        return self._run(sql, lambda: self._execute(sql, arguments or {}))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return what was found."""
        return self._found

    def _run(self, sql: str, statement: Callable[[], int]) -> int:
        server = self._server
        server.statements.append(sql)
        server.before(sql)
        changed = statement()
        server.after(sql)
        return changed

    def _commit(self) -> int:
        self._undo = None
        return 0

    def _execute(self, sql: str, given: Mapping[str, Any]) -> int:
        if sql.startswith(("SHOW", "SET")):
            self._found = []
            return 0
        if (update := _UPDATE.fullmatch(sql)) is not None:
            return self._update(update[1], update[2], given)
        conditions = sql.partition(" WHERE ")[2].removesuffix(" FOR UPDATE")
        rows = self._server.rows.values()
        found = [dict(row) for row in rows if self._matches(row, conditions, given)]
        if "CONNECTION_ID()" in sql:
            for row in found:
                row["idalloc_session"] = self.session
        self.description = [(name,) for name in (found[0] if found else ())]
        self._found = [tuple(row.values()) for row in found]
        return len(found)

    def _update(self, value: str, conditions: str, given: Mapping[str, Any]) -> int:
        changed = 0
        for row in self._server.rows.values():
            if self._matches(row, conditions, given):
                changed += row["max_id"] != given[value]
                row["max_id"] = given[value]
        return changed

    def _matches(self, row: Row, conditions: str, given: Mapping[str, Any]) -> bool:
        for condition in conditions.split(" AND "):
            if condition == _BY_COLLATION:  # one that knows no case, and pads
                matches = row["app_tag"].lower().rstrip() == given["app_tag"].lower().rstrip()
            elif condition == _BY_BYTES:
                matches = row["app_tag"] == given["app_tag"]
            elif condition == "CONNECTION_ID() = %(session)s":
                matches = self.session == given["session"]
            else:
                compared = _COMPARED.fullmatch(condition)
                if compared is None:
                    raise ValueError(f"a condition of another form: {condition}")
                column, sign, argument = compared.groups()
                matches = _OPERATORS[sign](row[column], given[argument])
            if not matches:
                return False
        return True


def gone() -> OperationalError:
    """Make the error of a connection that is lost before the answer came."""
    return OperationalError(SERVER_GONE, "Lost connection to MySQL server during query")
