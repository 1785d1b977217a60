"""The real `idalloc check` against tables as applications have them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack import Database, scratch_database
from idalloc_schemas import MAX_ID
from idalloc_worker.store._admin_session import AdminSession
from tests.integration.stores import TABLE, add_tag, address_of, mark_of, run, session
from tests.integration.test_tags_command import Idalloc

TAG = "order"


@pytest.fixture
def idalloc(database: Database) -> Idalloc:
    """Give the command, and a tag whose next segment begins at 5000."""
    add_tag(database, TAG, 5000, 10)
    return Idalloc(database.url)


def made(database: Database, *values: object, kind: str = "BIGINT", key: str = "KEY (id)") -> None:
    """Make the application's table with some ids."""
    database.query(f"CREATE TABLE orders (id {kind}, other INT{', ' if key else ''}{key})")
    with session(database) as connection:
        for value in values:
            run(connection, "INSERT INTO orders (id) VALUES (%s)", value)


def checked(idalloc: Idalloc, *arguments: str) -> tuple[int, dict[str, object]]:
    """Check the tag against `orders`; give the status and what is told of it."""
    done = idalloc("check", TAG, "--table", "orders", "--json", *arguments)
    assert "Traceback" not in done.stderr
    [found] = json.loads(done.stdout)
    return done.returncode, found


@pytest.mark.parametrize(
    ("highest", "status", "needed"),
    [(4999, 0, 5000), (5000, 1, 5001), (6200, 1, 6201), (None, 0, None), (-7, 0, 0)],
)
def test_a_row_must_be_above_all_ids(
    database: Database, idalloc: Idalloc, highest: int | None, status: int, needed: int | None
) -> None:
    """The next segment begins with max_id itself, so that an id that equals it comes twice."""
    made(database, highest, None)
    code, found = checked(idalloc)
    assert (code, found["highest"], found["needed"]) == (status, highest, needed)
    assert found["verdict"] == ("below" if status else "above")
    assert (found["warnings"], found["problems"], mark_of(database, TAG)) == ([], [], 5000)


def test_an_empty_table_is_below_every_row(database: Database, idalloc: Idalloc) -> None:
    """Nothing was stored, so nothing comes twice."""
    made(database)
    assert idalloc.ok("check", TAG, "--table", "orders") == (
        "order: max_id 5000, and no id is stored\n"
    )


def test_what_is_found_is_told(database: Database, idalloc: Idalloc) -> None:
    """In a line for each tag, with what to do."""
    made(database, 6200)
    command = ("check", TAG, "--table", "orders")
    below = "order: max_id 5000 is below 6201: ids up to 6200 are stored; "
    assert idalloc(*command).stdout == f"{below}raise it (--raise)\n"
    assert idalloc(*command, "--raise", "--dry-run").stdout == f"{below}it would be raised\n"
    assert mark_of(database, TAG) == 5000
    assert idalloc.ok(*command, "--raise") == (
        "order: max_id was raised from 5000 to 6201, which is above the highest id, 6200\n"
    )
    assert idalloc.ok(*command) == "order: max_id 6201 is above the highest id, 6200\n"


@pytest.mark.parametrize("ordered", [0, 1])
def test_a_row_is_raised_and_never_lowered(
    database: Database, idalloc: Idalloc, ordered: int
) -> None:
    """Above the margin, too; ordered or not; and again changes nothing."""
    database.query(f"UPDATE {TABLE} SET ordered = {ordered} WHERE app_tag = '{TAG}'")
    made(database, 6200)
    code, found = checked(idalloc, "--raise", "--margin", "1000")
    assert (code, found["raised_from"], found["max_id"]) == (0, 5000, 7201)
    assert mark_of(database, TAG) == 7201
    code, found = checked(idalloc, "--raise")
    assert (code, found["raised_from"], mark_of(database, TAG)) == (0, None, 7201)


def test_several_columns_are_taken_together(
    database: Database, mysql_url: str, idalloc: Idalloc
) -> None:
    """Of several tables, also of other databases, the highest id counts."""
    made(database, 4000)
    with scratch_database(mysql_url) as archive:
        archive.query("CREATE TABLE old (order_id INT UNSIGNED PRIMARY KEY)")
        archive.query("INSERT INTO old VALUES (5400)")
        old = ("--table", f"{archive.name}.old")
        assert (
            checked(idalloc, *old, "--column", "id", "--column", "order_id")[1]["highest"] == 5400
        )
        assert idalloc("check", TAG, "--table", "orders", *old, "--column", "id").returncode == 2


def test_one_column_that_is_above_is_enough(database: Database, idalloc: Idalloc) -> None:
    """That another one cannot be looked at does not hide it; raised it is still not certain."""
    made(database, 6200)
    code, found = checked(idalloc, "--table", "gone")
    assert (code, found["verdict"]) == (1, "below")
    code, found = checked(idalloc, "--table", "gone", "--raise")
    assert (code, found["verdict"], mark_of(database, TAG)) == (2, "unknown", 6201)


WHOLE = [
    "TINYINT",
    "SMALLINT",
    "INT",
    "INT UNSIGNED",
    "BIGINT",
    "BIGINT UNSIGNED",
    "DECIMAL(20, 0)",
]


@pytest.mark.parametrize("kind", WHOLE)
def test_any_whole_numbers_will_do(database: Database, idalloc: Idalloc, kind: str) -> None:
    """Each by the end of its index, without a warning that all rows are read."""
    made(database, 7, 100, 20, kind=kind)
    for ceiling in ("NULL", "9000000000", "1000000"):
        database.query(f"UPDATE segments SET ceiling = {ceiling} WHERE app_tag = %s", TAG)
        code, found = checked(idalloc)
        assert (code, found["highest"], found["warnings"]) == (0, 100, [])


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT", "DECIMAL(20, 2)", "DATE", "BIT(8)", "JSON"])
def test_what_is_no_whole_number_is_refused(
    database: Database, idalloc: Idalloc, kind: str
) -> None:
    """A double rounds above 2^53; its highest value says nothing."""
    made(database, kind=kind, key="")
    code, found = checked(idalloc)
    assert (code, found["verdict"]) == (2, "unknown")


@pytest.mark.parametrize("kind", ["VARCHAR(40)", "CHAR(40)", "TEXT", "VARBINARY(40)"])
def test_texts_need_a_prefix(database: Database, idalloc: Idalloc, kind: str) -> None:
    """As texts 9 is above 10; as numbers they can be compared once it is known how they begin."""
    made(database, "INV-9", "INV-000006200", "INV-10", None, kind=kind, key="")
    code, found = checked(idalloc)
    assert (code, found["highest"]) == (2, None)
    assert "--prefix" in str(found["problems"])
    code, found = checked(idalloc, "--prefix", "INV-")
    assert (code, found["highest"], found["needed"]) == (1, 6200, 6201)
    assert "every row" in str(found["warnings"])


@pytest.mark.parametrize("odd", ["INV-", "INV-x", "INV-9x", "inv-9", "9", "", "INV-" + "9" * 20])
def test_texts_that_are_something_else_are_not_passed_over(
    database: Database, idalloc: Idalloc, odd: str
) -> None:
    """One may stand for the highest id of all."""
    made(database, "INV-4000", odd, kind="VARCHAR(40) COLLATE utf8mb4_bin", key="")
    code, found = checked(idalloc, "--prefix", "INV-")
    assert (code, found["highest"]) == (2, None)
    assert "1 values" in str(found["problems"])


def test_an_empty_prefix_is_one(database: Database, idalloc: Idalloc) -> None:
    """For digits in a column of texts."""
    made(database, "9", "0010", "6200", kind="VARCHAR(40)", key="")
    assert checked(idalloc, "--prefix", "")[1]["highest"] == 6200
    made_of_numbers = idalloc("check", TAG, "--table", TABLE, "--column", "max_id", "--prefix", "")
    assert made_of_numbers.returncode == 2


def test_a_column_without_an_index_is_told(database: Database, idalloc: Idalloc) -> None:
    """It works, and takes its time on a table of many rows."""
    made(database, 7, 6200, key="")
    code, found = checked(idalloc)
    assert (code, found["highest"]) == (1, 6200)
    assert "no index begins with id" in str(found["warnings"])
    done = idalloc("check", TAG, "--table", "orders")
    assert done.stderr.startswith("idalloc: warning: every row of orders is read")


@pytest.mark.parametrize("kind", ["BIGINT", "BIGINT UNSIGNED"])
def test_ids_above_the_ceiling_are_not_of_this_tag(
    database: Database, idalloc: Idalloc, kind: str
) -> None:
    """Another generator's, beside which idalloc has a block; by the index all the same."""
    database.query(f"UPDATE {TABLE} SET ceiling = 9999 WHERE app_tag = '{TAG}'")
    made(database, 4000, 9999, 10_000, 70_000, kind=kind)
    code, found = checked(idalloc, "--raise", "--margin", "50")
    assert (code, found["highest"], found["warnings"]) == (0, 9999, [])
    assert mark_of(database, TAG) == 10_000  # where the block ends, and no further


def test_the_id_space_ends_before_2_to_the_63(database: Database, idalloc: Idalloc) -> None:
    """No worker gives an id above; a row at the end is above all that one can have given."""
    made(database, MAX_ID - 1, MAX_ID, 2**64 - 1, kind="BIGINT UNSIGNED")
    code, found = checked(idalloc, "--raise")
    assert (code, found["highest"], mark_of(database, TAG)) == (0, MAX_ID - 1, MAX_ID)


def test_names_may_be_of_any_kind(database: Database, idalloc: Idalloc) -> None:
    """They are quoted, and no part of them is taken for SQL or for an argument."""
    database.query("CREATE TABLE `100% ``of`` x` (`i%d ``` INT PRIMARY KEY)")
    database.query("INSERT INTO `100% ``of`` x` VALUES (6200)")
    names = ["--table", "100% `of` x", "--column", "i%d `"]
    assert idalloc("check", TAG, *names).stdout.startswith("order: max_id 5000 is below 6201")


def test_a_row_that_is_gone_is_told(database: Database, idalloc: Idalloc) -> None:
    """Along with where the tag is to begin anew."""
    made(database, 6200)
    database.query(f"DELETE FROM {TABLE} WHERE app_tag = '{TAG}'")
    done = idalloc("check", TAG, "--table", "orders", "--raise")
    assert done.returncode == 2
    assert "not found" in done.stderr
    assert done.stdout == "order: no row, and the highest id is 6200: begin with --start 6201\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--table", "gone"), "no table gone"),
        (("--table", "gone.orders"), "gone"),
        (("--table", "orders", "--column", "gone"), "no column gone"),
    ],
)
def test_what_is_not_there_cannot_be_compared(
    database: Database, idalloc: Idalloc, arguments: tuple[str, ...], told: str
) -> None:
    """2 is neither above nor below, and idalloc makes no tables of applications."""
    made(database, 6200)
    done = idalloc("check", TAG, *arguments)
    assert (done.returncode, done.stdout) == (2, "order: cannot be told\n")
    assert told in done.stderr
    assert "idalloc init" not in done.stderr


@pytest.fixture
def reader(database: Database) -> Iterator[str]:
    """Give the URL of a user who may see nothing of the database yet."""
    user = f"reader_{database.name[-12:]}"
    database.query(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    address = replace(address_of(database), user=user, password="pw")
    yield f"mysql://{user}:pw@{address.host}:{address.port}/{database.name}"
    database.query(f"DROP USER '{user}'@'%'")


def test_the_application_may_have_a_user_of_its_own(
    database: Database, idalloc: Idalloc, reader: str
) -> None:
    """Who may read the column, and needs no more; without that it cannot be told."""
    made(database, 6200)
    user = reader.partition("//")[2].partition(":")[0]
    idalloc.environment["IDALLOC_CHECK_URL"] = reader
    done = idalloc("check", TAG, "--table", "orders")
    assert (done.returncode, "pw" in done.stderr) == (2, False)
    database.query(f"GRANT SELECT (id) ON orders TO '{user}'@'%'")
    assert checked(idalloc)[1]["highest"] == 6200
    assert idalloc("check", TAG, "--table", "orders", "--url", "mysql://x").returncode == 2


def test_a_database_that_is_away_cannot_be_compared(idalloc: Idalloc) -> None:
    """Whichever of the two it is."""
    away = "mysql://u:secret@127.0.0.1:1/x"
    for name in ("IDALLOC_CHECK_URL", "IDALLOC_MYSQL_URL"):
        idalloc.environment[name] = away
        done = idalloc("check", TAG, "--table", "orders")
        assert (done.returncode, "secret" in done.stderr) == (2, False)


def test_a_replica_may_lag(
    database: Database, idalloc: Idalloc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a read-only server says is told with that doubt."""
    made(database, 4000)
    rows = AdminSession.rows

    def of_a_replica(self: AdminSession, sql: str, *arguments: object) -> object:
        return [(1,)] if "read_only" in sql else rows(self, sql, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AdminSession, "rows", of_a_replica)
    code, found = checked(idalloc)
    assert code == 0
    assert "lags" in str(found["warnings"])


def test_all_tags_at_once(database: Database, idalloc: Idalloc, tmp_path: Path) -> None:
    """From a file; the gravest that was found is the status."""
    made(database, 4000)
    database.query("CREATE TABLE bills (number VARCHAR(20))")
    database.query("INSERT INTO bills VALUES ('B9'), ('B300')")
    add_tag(database, "bill", 100, 10)
    file = tmp_path / "columns.csv"
    rows = ["order,orders,id,", "bill,bills,number,B", "test_business,orders,,"]
    file.write_text("\n".join(["app_tag,table,column,prefix", *rows]))
    done = idalloc("check", "--file", str(file))
    assert done.returncode == 1
    assert [line.split(" is ")[0] for line in done.stdout.splitlines()] == [
        "order: max_id 5000",
        "bill: max_id 100",
        "test_business: max_id 0",
    ]
    assert idalloc("check", "--file", str(file), "--raise").returncode == 0
    assert (mark_of(database, "bill"), mark_of(database, "test_business")) == (301, 4001)
    file.write_text("app_tag,table\norder,gone\nbill,orders\n")
    assert idalloc("check", "--file", str(file)).returncode == 1
    file.write_text("app_tag,table\norder,gone\norder,orders\n")
    assert idalloc("check", "--file", str(file)).returncode == 2


@pytest.mark.parametrize("text", ["", "app_tag\norder\n", "app_tag,table\n", "tag,table\na,b\n"])
def test_a_file_that_names_nothing_is_misused(idalloc: Idalloc, tmp_path: Path, text: str) -> None:
    """Nothing is compared with nothing."""
    (tmp_path / "columns.csv").write_text(text)
    assert idalloc("check", "--file", str(tmp_path / "columns.csv")).returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (TAG,),
        ("--table", "orders"),
        (TAG, "--table", "orders", "--file", "/dev/null"),
        (TAG, "--table", "orders", "--dry-run"),
        (TAG, "--table", "orders", "--column", "a", "--column", "b"),
    ],
)
def test_what_makes_no_sense_is_misused(idalloc: Idalloc, arguments: tuple[str, ...]) -> None:
    """It says so before it asks a database."""
    idalloc.fails(2, "check", *arguments)
