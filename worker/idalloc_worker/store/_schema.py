"""Creates what schema.sql describes, in the database and table that the configuration names."""

import re
from dataclasses import dataclass
from typing import Final

from idalloc_worker.mysql import (
    ADD_FIRST_TAG,
    CREATE_DATABASE,
    CREATE_TABLE,
    READ_ROW,
    REPAIR_CHECK,
    REPAIR_COLLATION,
    REPAIR_ENGINE,
    REPAIR_KEY,
    SHOW_COLUMNS,
    SHOW_TABLE,
    MySqlAddress,
    Statement,
)
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._table_faults import check_columns, faults_explained, missing_columns
from idalloc_worker.tags import StoreReason, StoreUnavailableError

FIRST_TAG: Final = "test_business"
_STEP_CHECK: Final = re.compile(r"CHECK\s*\(+`?step`?\s*(>=\s*1|>\s*0)", re.IGNORECASE)

_VIEW: Final = re.compile(r"CREATE\b[^(]*\bVIEW\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """What was created, and what about a table that was there already deserves a change."""

    created: tuple[str, ...]
    warnings: tuple[str, ...]


def create_schema(address: MySqlAddress, table: str) -> SchemaReport:
    """Create database, table and first tag where they are missing; change nothing that is there.

    Asks for no right that it does not need: where all is there, reading is enough.

    Raises StoreUnavailableError, TableError for a table that is there and is none of tags, and
    ValueError for a bad table name.
    """
    created = _create_database(address)
    with AdminSession(address) as session:
        missing = not _has_table(session, table)
        if missing:
            session.change(CREATE_TABLE.on(table))
            created.append(f"table {table}")
        else:
            check_columns(session, table)
        if not session.rows(READ_ROW.on(table), {"app_tag": FIRST_TAG}):
            with faults_explained(session, table):
                session.change(ADD_FIRST_TAG.on(table))
            created.append(f"app_tag {FIRST_TAG}")
        warnings = () if missing else _inspect(session, table)
    return SchemaReport(tuple(created), warnings)


def _create_database(address: MySqlAddress) -> list[str]:
    try:
        with AdminSession(address):
            return []
    except StoreUnavailableError as error:
        if error.reason is not StoreReason.MISSING_DATABASE:
            raise
    with AdminSession(address, database="") as session:
        session.change(CREATE_DATABASE.on_database(address.database))
    return [f"database {address.database}"]


def _has_table(session: AdminSession, table: str) -> bool:
    try:
        session.rows(SHOW_TABLE.on(table))
    except StoreUnavailableError as error:
        if error.reason is StoreReason.MISSING_TABLE:
            return False
        raise
    return True


def _inspect(session: AdminSession, table: str) -> tuple[str, ...]:
    """Find what a table that somebody else made lacks."""
    made = str(session.rows(SHOW_TABLE.on(table))[0][1])
    if _VIEW.match(made):
        return (f"{table} is a view; settings of single tags need columns in its table and in it",)
    columns = {str(row[0]).lower(): row for row in session.rows(SHOW_COLUMNS.on(table))}
    _, _, collation, _, key, *_ = columns["app_tag"]
    lacks: list[tuple[str, Statement]] = []
    if collation is not None and not collation.endswith("_bin"):
        lacks.append((f"app_tag has the collation {collation}, not a binary one", REPAIR_COLLATION))
    if key != "PRI":
        lacks.append(("app_tag is not the primary key", REPAIR_KEY))
    if not _STEP_CHECK.search(made):
        lacks.append(("nothing keeps step from being 0", REPAIR_CHECK))
    if "ENGINE=InnoDB" not in made:
        lacks.append(("its engine is not InnoDB, so a crash can lose commits", REPAIR_ENGINE))
    warnings = [
        f"table {table}: {lack}; to change that: {repair.on(table)};" for lack, repair in lacks
    ]
    if missing := missing_columns(session, table):
        warnings.append(
            f"table {table}: it has no columns {', '.join(missing)}, so that every tag has the "
            "defaults; to change that: idalloc migrate"
        )
    return tuple(warnings)
