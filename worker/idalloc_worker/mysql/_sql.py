"""Every statement for MySQL, named and described; nothing else in the package holds any."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from idalloc_worker.tags import COLUMNS

_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_$]{1,64}")

# The first comparison finds the row through the primary key under whatever collation the table has.
# The second one is byte for byte, so that `Order` and `order ` are not `order` on a table whose
# collation says they are. CAST, because MySQL 8 and later warn that the BINARY operator will go.
_THIS_TAG: Final = "app_tag = %(app_tag)s AND CAST(app_tag AS BINARY) = CAST(%(app_tag)s AS BINARY)"

_THE_TEMPLATE: Final = (
    "template.app_tag = %(template)s "
    "AND CAST(template.app_tag AS BINARY) = CAST(%(template)s AS BINARY)"
)
"""The same of the row that another one is made from."""

_DEFINED: Final = {name: f"{name} {column.sql_type}" for name, column in COLUMNS.items()}


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and what it is for."""

    purpose: str
    text: str

    def on(self, table: str, columns: Iterable[str] = ()) -> str:
        """Write the statement for `table`, and for some columns where it is about these.

        Raises ValueError if the table is no plain identifier, or a column none of a tag's.
        """
        names = settings_columns(columns)
        parts = {
            "<this tag>": _THIS_TAG,
            "<the template>": _THE_TEMPLATE,
            "<table>": quoted(check_table_name(table)),
            "<columns>": ", ".join(names),
            "<copied>": ", ".join(f"template.{name}" for name in names),
            "<values>": ", ".join(f"%({name})s" for name in names),
            "<unchanged>": "".join(f" AND {_same(name)}" for name in names),
            "<changes>": ", ".join(f"{name} = %({name})s" for name in names),
            "<definitions>": ", ".join(f"ADD COLUMN {_DEFINED.get(name)}" for name in names),
            "<settings>": ", ".join(_DEFINED.values()),
        }
        text = self.text
        for part, sql in parts.items():
            text = text.replace(part, sql)
        return text

    def on_database(self, database: str) -> str:
        """Write the statement for a whole database."""
        return self.text.replace("<database>", quoted(database))

    def on_any(self, table: str, column: str = "") -> str:
        """Write the statement, which takes arguments, for anybody's table, and a column of it."""
        names = {"<any table>": _path(table), "<column>": quoted(column)}
        text = self.text
        for part, name in names.items():
            text = text.replace(part, name.replace("%", "%%"))
        return text


def _path(table: str) -> str:
    """Quote a table's name, before which that of its database may stand."""
    return ".".join(map(quoted, table.split(".", 1)))


def check_table_name(name: str) -> str:
    """Return `name`, or raise ValueError unless it is an identifier that needs no escaping."""
    if not _TABLE_NAME.fullmatch(name):
        raise ValueError("must be 1 to 64 letters (A-Z, a-z), digits, _ or $")
    return name


def quoted(identifier: str) -> str:
    """Quote an identifier."""
    return "`" + identifier.replace("`", "``") + "`"


def named_row(description: Sequence[Sequence[object]], row: Sequence[object]) -> dict[str, object]:
    """Join a row with the names of its columns, which MySQL compares without regard to case."""
    names = [str(column[0]).lower() for column in description]
    return dict(zip(names, row, strict=True))


def _same(column: str) -> str:
    """Compare a column with what was read from it; two NULLs are the same."""
    if column not in COLUMNS or not COLUMNS[column].is_text:
        return f"{column} <=> %({column})s"
    # Byte for byte, in the connection's character set: names of users know upper from lower case.
    there, read = f"CONVERT({column} USING utf8mb4)", f"%({column})s"
    return f"CAST({there} AS BINARY) <=> CAST({read} AS BINARY)"


def settings_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, or raise ValueError unless each is a column that holds a setting."""
    chosen = tuple(names)
    if unknown := set(chosen) - {"step", "max_id", *COLUMNS}:
        raise ValueError(f"no columns of a tag: {sorted(unknown)}")
    return chosen


SESSION: Final = Statement(
    "Sets up a connection. Waits for locks give up before the caller does, so that the answer is a "
    "definite one. Strict mode, because without it a value too large for the column would be cut "
    "down silently, and the same ids be reserved twice. Not what TRADITIONAL says of zero dates: a "
    "table that has some could not be altered.",
    "SET SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 1, "
    "SESSION sql_mode = "
    "'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
)

HOLD_BRIEFLY: Final = Statement(
    "Has the server end this session, and undo what it began, once it hears nothing for as long as "
    "an operation may take. A worker that is frozen in a transaction would keep the row from all "
    "others for as long as a session may be idle: eight hours, unless somebody chose less.",
    "SET SESSION wait_timeout = %(seconds)s",
)

IDLE_AGAIN: Final = Statement(
    "Lets the session be idle for as long as any other.", "SET SESSION wait_timeout = DEFAULT"
)

WRITE_SETTINGS: Final = Statement(
    "Asks whether a server takes writes, and whether it is a node of Galera. SHOW, because naming "
    "a variable that a server does not have (MariaDB has no super_read_only) is an error; needs no "
    "right, and no quorum.",
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN "
    "('read_only', 'super_read_only', 'innodb_read_only', 'wsrep_on', 'wsrep_provider')",
)

GALERA_STATE: Final = Statement(
    "Asks a node of Galera whether it takes statements: without a quorum it takes logins all the "
    "same.",
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status')",
)

READ_ROW: Final = Statement(
    "Reads all that the table says of a tag, whichever columns it has by now. A plain read: it "
    "takes no lock, also where there is no row.",
    "SELECT * FROM <table> WHERE <this tag>",
)

ORDERED_TAGS: Final = Statement(
    "Reads which tags are ordered, and how far they are reserved: whether somebody else has, while "
    "a tag was an ordinary one. Fails where the table has no such column: then none is.",
    "SELECT app_tag, max_id FROM <table> WHERE ordered = 1",
)

TEMPLATES: Final = Statement(
    "Reads the rows that others are made from: patterns, and tags that start anew.",
    "SELECT * FROM <table> WHERE new_per_minute >= 1 OR period IN ('day', 'month', 'year')",
)

DATABASE_CLOCK: Final = Statement(
    "Asks for the time, in UTC whatever time zone the session has.", "SELECT UTC_TIMESTAMP(6)"
)

ADD_FROM_PATTERN: Final = Statement(
    "Makes the row of a tag that is used for the first time, with the settings of its pattern, if "
    "that still is one. One statement, which does nothing where somebody else has made it.",
    "INSERT INTO <table> (app_tag, max_id, <columns>) "
    "SELECT %(app_tag)s, 0, <copied> FROM <table> AS template "
    "WHERE <the template> "
    "AND template.new_per_minute >= 1 "
    "ON DUPLICATE KEY UPDATE max_id = <table>.max_id",
)

ADD_PERIOD: Final = Statement(
    "Makes the row of a period, with the settings of its tag, if the period has begun by the "
    "database's clock. One statement, which does nothing where somebody else has made it.",
    "INSERT INTO <table> (app_tag, max_id, period, <columns>) "
    "SELECT %(app_tag)s, 0, %(period)s, <copied> FROM <table> AS template "
    "WHERE <the template> "
    "AND template.period = %(kind)s "
    "AND UTC_TIMESTAMP(6) >= %(begins)s AND UTC_TIMESTAMP(6) < %(until)s "
    "ON DUPLICATE KEY UPDATE max_id = <table>.max_id",
)

PERIODS: Final = Statement(
    "Reads the names of a tag's rows for its periods, and perhaps some more.",
    "SELECT app_tag FROM <table> WHERE app_tag > %(first)s AND app_tag < %(end)s "
    "AND period IS NOT NULL",
)

REMOVE_PERIODS: Final = Statement(
    "Removes rows of periods; no others, whatever their names are.",
    "DELETE FROM <table> WHERE app_tag IN %(rows)s AND period LIKE '____%%' "
    "AND period NOT IN ('day', 'month', 'year')",
)

LOCK_ROW: Final = Statement(
    "Reads a row and keeps all others from it until the transaction ends. No replica that lags "
    "answers it. Names the session, which a repeated statement would not have.",
    "SELECT *, CONNECTION_ID() AS idalloc_session FROM <table> WHERE <this tag> FOR UPDATE",
)

PROBE_LOCK: Final = Statement(
    "Waits for locks of the table and of the server, and for none of the row.",
    "SELECT app_tag FROM <table> WHERE <this tag> FOR UPDATE SKIP LOCKED",
)

RESERVE: Final = Statement(
    "Moves a tag's mark from where it was seen to where it is to be, if all that the decision was "
    "based on is still so. The new mark is known by that: the server is not asked for it, since "
    "what it says of an insert id is whatever the last trigger on the table has done. Executed "
    "again, by a proxy that lost the answer, it finds another mark and does nothing.",
    "UPDATE <table> SET max_id = %(mark)s WHERE <this tag> AND max_id = %(seen)s<unchanged>",
)

READ_MARKS: Final = Statement(
    "Reads how far some tags are reserved, to see whether a row was set back.",
    "SELECT app_tag, max_id FROM <table> WHERE app_tag IN %(app_tags)s",
)

RAISE_MARK: Final = Statement(
    "Raises a row that was set back above all that was reserved, unless it has moved meanwhile.",
    "UPDATE <table> SET max_id = %(floor)s WHERE <this tag> AND max_id = %(seen)s",
)

GIVE_BACK: Final = Statement(
    "Lowers a tag's mark by what a stopping worker has left, unless somebody has reserved since. "
    "Executed at most once, whatever becomes of the answer: docs/correctness.md says why. A proxy "
    "that repeats it does so in another session than the one that locked the row: there it does "
    "nothing.",
    "UPDATE <table> SET max_id = %(left)s WHERE <this tag> AND max_id = %(right)s "
    "AND CONNECTION_ID() = %(session)s",
)

LIST_TAGS: Final = Statement(
    "Reads every tag.",
    "SELECT * FROM <table> ORDER BY app_tag",
)

ADD_TAG: Final = Statement(
    "Adds a tag; fails if there is one of that name.",
    "INSERT INTO <table> (app_tag, <columns>) VALUES (%(app_tag)s, <values>)",
)

CHANGE_TAG: Final = Statement(
    "Changes some columns, unless the mark has risen above the limit, if there is one, meanwhile.",
    "UPDATE <table> SET <changes> WHERE <this tag> AND COALESCE(max_id <= %(limit)s, TRUE)",
)

RAISE_TAG: Final = Statement(
    "Raises a tag's mark, and never lowers it. One that is NULL is below all.",
    "UPDATE <table> SET max_id = GREATEST(COALESCE(max_id, 0), %(max_id)s) WHERE <this tag>",
)

REMOVE_TAG: Final = Statement(
    "Removes a tag, unless its mark has moved meanwhile.",
    "DELETE FROM <table> WHERE <this tag> AND max_id <=> %(max_id)s",
)

CREATE_DATABASE: Final = Statement(
    "Creates the database.", "CREATE DATABASE IF NOT EXISTS <database>"
)

CREATE_TABLE: Final = Statement(
    "Creates the table; schema.sql says the same, and why, and a test holds the two together.",
    """
CREATE TABLE IF NOT EXISTS <table> (
  app_tag VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  max_id BIGINT NOT NULL DEFAULT 0,
  step BIGINT NOT NULL,
  update_time DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  <settings>,
  PRIMARY KEY (app_tag),
  CHECK (step >= 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii COLLATE = ascii_bin
""",
)

ADD_FIRST_TAG: Final = Statement(
    "Adds the tag to try things with; leaves it alone if it is there.",
    "INSERT INTO <table> (app_tag, max_id, step) VALUES ('test_business', 0, 100000) "
    "ON DUPLICATE KEY UPDATE app_tag = app_tag",
)

SHOW_TABLE: Final = Statement("Shows how the table was made.", "SHOW CREATE TABLE <table>")

SHOW_COLUMNS: Final = Statement("Shows its columns.", "SHOW FULL COLUMNS FROM <table>")

ADD_COLUMNS: Final = Statement(
    "Adds columns, empty. The way to do it is appended.", "ALTER TABLE <table> <definitions>"
)

REPAIR_COLLATION: Final = Statement(
    "Makes tags compare byte for byte.",
    "ALTER TABLE <table> MODIFY app_tag VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",
)

REPAIR_KEY: Final = Statement("Adds the key.", "ALTER TABLE <table> ADD PRIMARY KEY (app_tag)")

REPAIR_CHECK: Final = Statement("Adds the check.", "ALTER TABLE <table> ADD CHECK (step >= 1)")

REPAIR_ENGINE: Final = Statement("Makes commits durable.", "ALTER TABLE <table> ENGINE = InnoDB")

APPLICATION_COLUMNS: Final = Statement(
    "Shows the columns of an application's table.", "SHOW COLUMNS FROM <any table>"
)

HIGHEST_ID: Final = Statement(
    "Reads the highest id of a column: from the end of an index that begins with it.",
    "SELECT MAX(<column>) FROM <any table>",
)

HIGHEST_ID_BELOW: Final = Statement(
    "The same of ids that a tag may have given: others may be in the table, too.",
    "SELECT MAX(<column>) FROM <any table> WHERE <column> < %(end)s",
)

HIGHEST_IN_TEXT: Final = Statement(
    "Reads the highest id of a column of texts, each a prefix and digits, as a number: as texts 9 "
    "is above 10. Counts the texts that are none of that, also for more digits than numbers have.",
    """
SELECT MAX(CASE WHEN number < %(end)s THEN number END), SUM(NOT fits) FROM (
  SELECT CAST(rest AS UNSIGNED) AS number,
    CAST(start AS BINARY) = CAST(%(prefix)s AS BINARY) AND rest REGEXP '^0*[0-9]{1,19}$' AS fits
  FROM (
    SELECT LEFT(CONVERT(<column> USING utf8mb4), CHAR_LENGTH(%(prefix)s)) AS start,
      SUBSTRING(CONVERT(<column> USING utf8mb4), CHAR_LENGTH(%(prefix)s) + 1) AS rest
    FROM <any table> WHERE <column> IS NOT NULL
  ) AS texts
) AS numbers
""",
)

READ_ONLY: Final = Statement("Asks whether a server is read-only.", "SELECT @@GLOBAL.read_only")

COSID_COUNTERS: Final = Statement(
    "Reads what CosId has reserved: segments end with last_max_id.",
    "SELECT name, last_max_id + 1 FROM <any table> ORDER BY name",
)

MOVE_COSID: Final = Statement(
    "Has CosId go on above a block of ids, unless a node of it has reserved since.",
    "UPDATE <any table> SET last_max_id = %(next_id)s - 1 "
    "WHERE name = %(name)s AND last_max_id = %(seen)s - 1",
)

VITESS_COUNTER: Final = Statement(
    "Reads what a sequence of Vitess has reserved: the next segment begins with next_id.",
    "SELECT next_id FROM <any table> WHERE id = 0",
)

MOVE_VITESS: Final = Statement(
    "Has a sequence of Vitess go on above a block of ids, unless a tablet has reserved since.",
    "UPDATE <any table> SET next_id = %(next_id)s WHERE id = 0 AND next_id = %(seen)s",
)
