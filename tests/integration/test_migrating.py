"""docs/migrating.md: what it says is run on real tables, while the old system hands out ids too."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from devstack import Database, scratch_database
from devstack.history import Reply
from devstack.workers import Fleet
from idalloc_client import ExhaustedError, IdClient
from idalloc_worker.engine._effects import ReservationRequest
from tests.guide import MIGRATING, Guide, Section
from tests.integration.roll_out import TAG, RollOut
from tests.integration.stores import (
    add_tag,
    address_of,
    mark_of,
    opened,
    remake_table,
    run,
    session,
)
from tests.integration.test_tag_settings_command import FOUR_COLUMNS
from tests.integration.test_tags_command import Idalloc
from tests.old_systems import LEAF_TABLE, TINYID_TABLE, LeafNode, TagGoneError, TinyIdNode
from tests.waiting import wait_until

pytestmark = pytest.mark.long

ONE = ReservationRequest(TAG, 1)
GUIDE = Guide(MIGRATING)


@pytest.fixture
def idalloc(database: Database) -> Idalloc:
    return Idalloc(database.url)


@pytest.fixture
def roll_out(fleet: Fleet, database: Database) -> Iterator[RollOut]:
    """Give what runs callers of both systems; all of it ends with the test."""
    with RollOut(fleet, database) as running:
        yield running


def execute(database: Database, section: Section) -> list[list[tuple[Any, ...]]]:
    """Run the SQL that a section shows in one session, as its reader would."""
    with session(database) as connection:
        return [run(connection, statement) for statement in section.statements]


def ids_of(reply: Reply) -> set[int]:
    return {one for left, right in reply.ranges for one in range(left, right)}


def test_the_reference_table_serves_both(roll_out: RollOut, database: Database) -> None:
    """Service and workers draw from one table, through `idalloc migrate`, and no id comes twice."""
    remake_table(database, FOUR_COLUMNS)
    add_tag(database, TAG, max_id=2000, step=10)
    nodes = [LeafNode(f"go-{n}", TAG, database, "segments", "app_tag") for n in range(2)]
    service = roll_out.start_nodes(nodes)
    roll_out.fleet.start(2)
    roll_out.move_callers()
    roll_out.go_on()
    init, migrate = GUIDE["From the reference service"].commands()
    assert "no columns" in roll_out.idalloc(*init).stderr
    assert "test_business" in roll_out.idalloc.ok("tags", "list")
    roll_out.idalloc.ok(*migrate)
    roll_out.go_on()
    roll_out.stop(service)
    roll_out.go_on()
    roll_out.judge()


@pytest.fixture
def leaf(database: Database) -> Database:
    """Give a database with a table of Leaf's, whose nodes have handed out ids up to 2000."""
    database.query("DROP TABLE segments")
    database.query(LEAF_TABLE)
    database.query(f"INSERT INTO leaf_alloc (biz_tag, max_id, step) VALUES ('{TAG}', 2001, 10)")
    return database


def test_leaf_and_workers_share_the_row(roll_out: RollOut, leaf: Database) -> None:
    """From Leaf to idalloc with a table of its own and back to Leaf: no id twice, no call fails."""
    nodes = [LeafNode(f"leaf-{number}", TAG, leaf) for number in range(2)]
    old = roll_out.start_nodes(nodes)
    roll_out.go_on()
    execute(leaf, GUIDE["Leaf and idalloc side by side"])
    roll_out.fleet.start(2)
    roll_out.move_callers()
    roll_out.go_on()
    roll_out.stop(old)
    execute(leaf, GUIDE["When Leaf is gone"])
    roll_out.do(GUIDE["When Leaf is gone"])
    roll_out.fleet.start(1)  # which must reserve at once
    roll_out.go_on()
    execute(leaf, GUIDE["Back to Leaf"])
    roll_out.start_nodes(nodes)
    roll_out.go_on()
    roll_out.judge()


def test_leafs_max_id_is_the_first_free_id(leaf: Database) -> None:
    """Segments of the two touch: nothing is lost between them, and nothing goes out twice."""
    execute(leaf, GUIDE["Leaf and idalloc side by side"])
    with closing(LeafNode("leaf", TAG, leaf)) as node, opened(address_of(leaf)) as store:
        before, between, after = (
            node.reserve(),
            store.reserve(ONE).segment,
            node.reserve(),
        )
    assert [before[0], before[-1] + 1] == [2001, between.left]
    assert after[0] == between.right


def test_leaf_goes_on_above_a_block(database: Database, idalloc: Idalloc) -> None:
    """Where the row cannot be shared, Leaf's ids and idalloc's lie on the sides of the ceiling."""
    section = GUIDE["A block of Leaf's"]
    database.query(LEAF_TABLE)
    database.query(f"INSERT INTO leaf_alloc (biz_tag, max_id, step) VALUES ('{TAG}', 4999990, 10)")
    with closing(LeafNode("leaf", TAG, database)) as node, opened(address_of(database)) as store:
        before = node.reserve()
        execute(database, section)
        [command] = section.commands()
        idalloc.ok(*command)
        assert (before[-1], store.reserve(ONE).segment.left) == (
            4_999_999,
            5_000_000,
        )
        left = 15_000_000 - mark_of(database, TAG)
        assert (
            store.reserve(ReservationRequest(TAG, left)).segment.right
            == node.reserve()[0]
            == 15_000_000
        )


def test_a_leaf_that_came_too_far_refuses_the_block(database: Database) -> None:
    """The statement that cuts the block changes nothing where an id of it went out already."""
    database.query(LEAF_TABLE)
    database.query(f"INSERT INTO leaf_alloc (biz_tag, max_id, step) VALUES ('{TAG}', 5000001, 10)")
    execute(database, GUIDE["A block of Leaf's"])
    assert database.query("SELECT max_id FROM leaf_alloc") == [(5_000_001,)]


def test_another_tag_of_leafs_may_be_locked(leaf: Database) -> None:
    """A reservation through the view locks the row of its own tag only."""
    execute(leaf, GUIDE["Leaf and idalloc side by side"])
    leaf.query("INSERT INTO leaf_alloc (biz_tag, step) VALUES ('invoice', 10), ('user', 10)")
    with session(leaf) as other, opened(address_of(leaf)) as store:
        run(other, "BEGIN")
        for neighbour in ("invoice", "user"):
            run(other, "UPDATE leaf_alloc SET max_id = 7 WHERE biz_tag = %s", neighbour)
        assert store.reserve(ONE).segment.left == 2001


def test_a_worker_needs_rights_on_the_name_only(leaf: Database) -> None:
    """The view uses the table with its maker's rights, and the table takes over the view's."""
    execute(leaf, GUIDE["Leaf and idalloc side by side"])
    user = f"view_{leaf.name[-12:]}"
    leaf.query(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    try:
        leaf.query(f"GRANT SELECT, UPDATE ON segments TO '{user}'@'%'")
        address = replace(address_of(leaf), user=user, password="pw")
        with opened(address) as store:
            assert store.reserve(ONE).segment.left == 2001
            execute(leaf, GUIDE["When Leaf is gone"])
            assert store.reserve(ONE).segment.left == 2011
    finally:
        leaf.query(f"DROP USER '{user}'@'%'")


def test_tags_work_through_the_view(idalloc: Idalloc, leaf: Database) -> None:
    """A tag that `idalloc tags` adds or raises is a tag of Leaf's."""
    execute(leaf, GUIDE["Leaf and idalloc side by side"])
    idalloc.ok("tags", "add", "invoice", "--step", "50", "--start", "7")
    idalloc.ok("tags", "raise", "invoice", "--to", "900")
    assert TAG in idalloc.ok("tags", "list")
    with closing(LeafNode("leaf", "invoice", leaf)) as node:
        assert node.reserve()[0] == 900


def test_a_tag_that_does_not_fit_stops_the_renaming(leaf: Database) -> None:
    """The first statement fails, and workers and Leaf go on as before."""
    execute(leaf, GUIDE["Leaf and idalloc side by side"])
    leaf.query("INSERT INTO leaf_alloc (biz_tag, step) VALUES (%s, 10)", "x" * 33)
    with pytest.raises(Exception, match="app_tag"):
        execute(leaf, GUIDE["When Leaf is gone"])
    with closing(LeafNode("leaf", TAG, leaf)) as node, opened(address_of(leaf)) as store:
        assert (store.reserve(ONE).segment.left, node.reserve()[0]) == (
            2001,
            2011,
        )


def add_tinyid(database: Database, delta: int, remainder: int) -> None:
    """Give the database tinyid's table, as it stands in the guide's example."""
    database.query(TINYID_TABLE)
    database.query(
        "INSERT INTO tiny_id_info (biz_type, begin_id, max_id, step, delta, remainder) "
        "VALUES (%s, 1, 4812001, 10, %s, %s)",
        *(TAG, delta, remainder),
    )


@pytest.fixture
def tinyid(database: Database, mysql_url: str) -> Iterator[list[Database]]:
    """Give two databases of tinyid's, for even and for odd ids; the first is idalloc's too."""
    with scratch_database(mysql_url) as second:
        both = [database, second]
        for remainder, one in enumerate(both):
            add_tinyid(one, 2, remainder)
        yield both


def in_each(databases: list[Database], section: Section) -> list[tuple[Any, ...]]:
    """Run a section's SQL in each database and return the rows of the last statement."""
    return [row for database in databases for row in execute(database, section)[-1]]


def test_tinyid_goes_on_above_its_block(roll_out: RollOut, tinyid: list[Database]) -> None:
    """From tinyid to idalloc and back: no id twice, though all run at once in each stage."""
    nodes = [TinyIdNode(f"tinyid-{number}", TAG, tinyid) for number in range(2)]
    old = roll_out.start_nodes(nodes)
    roll_out.go_on()
    in_each(tinyid, GUIDE["Cut a block out of tinyid"])
    roll_out.do(GUIDE["Cut a block out of tinyid"])
    roll_out.fleet.start(2)
    roll_out.move_callers()
    roll_out.go_on()
    assert all(one.query("SELECT max_id FROM tiny_id_info")[0][0] > 15_000_000 for one in tinyid)
    gone = GUIDE["When tinyid is gone"]
    marks = in_each(tinyid, gone)
    roll_out.do(gone, LARGEST=max(mark for (mark,) in marks))
    for forgotten in old:  # hands out what it holds, and then fails
        roll_out.expect_end(forgotten, TagGoneError)
    roll_out.fleet.start(1)
    roll_out.go_on()
    back = GUIDE["Back to tinyid"]
    roll_out.do(back)
    assert mark_of(tinyid[0], TAG) <= 60_000_001
    in_each(tinyid, back)
    roll_out.start_nodes([TinyIdNode(f"again-{n}", TAG, tinyid) for n in range(2)])
    roll_out.go_on()
    roll_out.judge()
    theirs = [reply for reply in roll_out.replies if reply.caller.startswith("again")]
    assert min(map(min, map(ids_of, theirs))) > 60_000_000


def test_a_block_that_is_used_up_is_replaced(roll_out: RollOut, database: Database) -> None:
    """EXHAUSTED ends as soon as the tag has another block, and each block ends with its ceiling."""
    add_tinyid(database, 1, 0)
    in_each([database], GUIDE["Cut a block out of tinyid"])
    roll_out.do(GUIDE["Cut a block out of tinyid"])
    roll_out.idalloc.ok("tags", "set", TAG, "--max-id", "14999901")
    roll_out.fleet.start(1)
    with IdClient(roll_out.fleet.amqp_url) as client:
        last = client.next_ids(TAG, 100, timeout=20)
        assert last.ranges[-1][1] == 15_000_001
        with pytest.raises(ExhaustedError):
            client.next_id(TAG, timeout=20)
        in_each([database], GUIDE["If the block becomes short"])
        roll_out.do(GUIDE["If the block becomes short"])
        wait_until(lambda: got_one(client))
    roll_out.start_nodes([TinyIdNode("tinyid", TAG, [database])])
    roll_out.move_callers()
    roll_out.go_on()
    roll_out.judge()
    assert {highest > 35_000_000 for highest in map(max, map(ids_of, roll_out.replies))} == {
        True,
        False,
    }


def got_one(client: IdClient) -> bool:
    try:
        return client.next_id(TAG, timeout=20) >= 25_000_001
    except ExhaustedError:
        return False


def test_a_database_that_came_too_far_refuses_the_block(tinyid: list[Database]) -> None:
    """The statement that cuts the block changes nothing where ids of it went out already."""
    tinyid[1].query("UPDATE tiny_id_info SET max_id = 5000001")
    in_each(tinyid, GUIDE["Cut a block out of tinyid"])
    assert tinyid[0].query("SELECT max_id, version FROM tiny_id_info") == [(15_000_000, 1)]
    assert tinyid[1].query("SELECT max_id, version FROM tiny_id_info") == [(5_000_001, 0)]


def test_tinyids_row_must_not_be_shared(database: Database) -> None:
    """The reason for the block: through a view the id `max_id` goes out twice."""
    add_tinyid(database, 1, 0)
    database.query("DROP TABLE segments")
    database.query(
        "CREATE VIEW segments AS SELECT biz_type AS app_tag, max_id, step FROM tiny_id_info"
    )
    with (
        closing(TinyIdNode("tinyid", TAG, [database])) as node,
        opened(address_of(database)) as ours,
    ):
        theirs, segment = node.reserve(), ours.reserve(ONE).segment
    assert set(theirs) & set(range(segment.left, segment.right)) == {4_812_011}


@pytest.fixture
def orders(database: Database) -> Database:
    """Give a table whose counter stands where the guide's example has it."""
    database.query(
        "CREATE TABLE orders (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, item VARCHAR(20)) "
        "ENGINE = InnoDB AUTO_INCREMENT = 4812001"
    )
    database.query("INSERT INTO orders (item) VALUES ('first')")
    return database


class Shop:
    """Inserts orders; the key of the table turns an id that comes twice into an error."""

    def __init__(self, database: Database, stack: ExitStack, name: str) -> None:
        self._connection = stack.enter_context(session(database))
        self.name = name

    def insert(self) -> Reply:
        """Let the table choose the id."""
        sent_at = time.monotonic()
        with self._connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (item) VALUES (%s)", (self.name,))
            one = int(cursor.lastrowid)
        return Reply(TAG, ((one, one + 1),), self.name, self.name, sent_at, time.monotonic())

    def inserting(self, draw: Callable[[], Reply]) -> Callable[[], Reply]:
        """Insert with the ids that `draw` gives."""

        def insert() -> Reply:
            reply = draw()
            rows = [(one, self.name) for one in sorted(ids_of(reply))]
            with self._connection.cursor() as cursor:
                cursor.executemany("INSERT INTO orders (id, item) VALUES (%s, %s)", rows)
            return reply

        return insert


def counter_of(shown: list[tuple[Any, ...]]) -> int:
    """Read the answer to SHOW CREATE TABLE."""
    [(_, definition)] = shown
    return int(definition.partition("AUTO_INCREMENT=")[2].split()[0])


def test_a_table_and_idalloc_choose_ids_side_by_side(roll_out: RollOut, orders: Database) -> None:
    """Writers move one by one; each id is in its own range, and none is refused by the key."""
    cut = GUIDE["Cut a block out of the table"]
    shops = [Shop(orders, roll_out.resources, f"shop-{number}") for number in range(4)]
    old = roll_out.start(*(shop.insert for shop in shops[:2]))
    roll_out.go_on()
    shown, *_, [(highest,)] = execute(orders, cut)
    assert 4_812_002 < counter_of(shown) <= highest + 1 < 5_000_000
    roll_out.do(cut)
    roll_out.fleet.start(2)
    client = roll_out.resources.enter_context(IdClient(roll_out.fleet.amqp_url))
    roll_out.start(*(s.inserting(roll_out.caller(client)) for s in shops[2:]))
    roll_out.go_on()
    roll_out.stop(old)
    gone = GUIDE["When no writer uses AUTO_INCREMENT"]
    shown, _, [(above,)] = execute(orders, gone)
    assert counter_of(shown) == above  # all who left it to the table are in the table
    with pytest.raises(Exception, match="default value"):
        shops[0].insert()
    roll_out.do(gone, LARGER=max(counter_of(shown), above))
    roll_out.fleet.start(1)
    roll_out.go_on()
    back = GUIDE["Back to AUTO_INCREMENT"]
    roll_out.do(back)
    assert mark_of(orders, TAG) <= 60_000_001
    execute(orders, back)
    roll_out.start(*(shop.insert for shop in shops[:2]))
    roll_out.go_on()
    roll_out.judge()
    chosen = orders.query(
        "SELECT item IN ('shop-0', 'shop-1'), id BETWEEN 5000000 AND 14999999, COUNT(*) "
        "FROM orders WHERE id >= 5000000 GROUP BY 1, 2"
    )
    assert {(by_table, in_block) for by_table, in_block, _ in chosen} >= {(1, 0), (0, 1)}
    assert (1, 1) not in {(by_table, in_block) for by_table, in_block, _ in chosen}


def test_an_id_above_the_counter_takes_the_counter_with_it(orders: Database) -> None:
    """The reason for the block: the table's next id is one that idalloc is about to hand out."""
    orders.query("INSERT INTO orders (id, item) VALUES (5000000, 'from idalloc')")
    orders.query("INSERT INTO orders (item) VALUES ('by the table')")
    assert orders.query("SELECT id FROM orders WHERE item = 'by the table'") == [(5_000_001,)]
