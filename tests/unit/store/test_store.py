"""What the store sends to the database, and what it makes of the answers: on a table in memory."""

from collections.abc import Callable

import pytest
from pymysql.err import OperationalError

from idalloc_schemas import MAX_ID
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql import _host_choice as _mysql_hosts
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.tags._errors import (
    InvalidRowError,
    OutcomeUnknownError,
    RewindSuspectedError,
    StoreReason,
    StoreUnavailableError,
    TagIsOrderedError,
)
from idalloc_worker.tags._segment import Segment
from idalloc_worker.tags._settings import TagExhaustedError
from idalloc_worker.tags._step_size import Demand
from tests.fake_mysql import FakeMySql, gone

ONE_HOST = "mysql://u@one/db"
TWO_HOSTS = "mysql://u@one,two/db"


class Bench:
    """A store, its clock and its server; a second one on request."""

    def __init__(self, url: str = ONE_HOST) -> None:
        self.now = 0.0
        self.server = FakeMySql(order=0)
        self.hosts = MySqlHosts(MySqlAddress.parse(url), lambda: self.now, lambda: 1.0)
        self.store = self.another()

    def another(self) -> SegmentStore:
        return SegmentStore(self.hosts, "segments", 2.0, lambda: self.now)

    @property
    def row(self) -> dict[str, object]:
        return self.server.rows["order"]

    def prove(self) -> None:
        """Reserve once, so that what follows takes the short way."""
        self.store.reserve(ReservationRequest("order", 1))
        self.server.statements.clear()

    def once(self, word: str, callback: Callable[[], None], *, after: bool = False) -> None:
        """Step in at the first statement that begins so."""

        def step_in(sql: str) -> None:
            if sql.startswith(word):
                setattr(self.server, "after" if after else "before", lambda _sql: None)
                callback()

        setattr(self.server, "after" if after else "before", step_in)

    def lose_answer(self, word: str) -> None:
        """Have a statement executed, and nobody hear of it."""
        self.once(word, fail, after=True)


def fail() -> None:
    raise gone()


def fail_with(errno: int) -> None:
    raise OperationalError(errno, "the server's words")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> object:
        assert Current.bench is not None
        return Current.bench.server.connect()

    monkeypatch.setattr(_mysql_hosts, "open_connection", connect)


class Current:
    """Whose server it is that is connected to."""

    bench: Bench | None = None


def new_bench(url: str = ONE_HOST) -> Bench:
    Current.bench = Bench(url)
    return Current.bench


@pytest.fixture
def bench() -> Bench:
    return new_bench()


def test_the_first_reservation_is_seen_to_stay(bench: Bench) -> None:
    """Under a lock, and read again; those that follow take a read and one statement."""
    assert bench.store.reserve(ReservationRequest("order", 1)).segment == Segment(0, 10)
    assert (bench.server.sent("BEGIN"), bench.server.sent("COMMIT")) == (1, 1)
    bench.server.statements.clear()
    assert bench.store.reserve(ReservationRequest("order", 1)).segment == Segment(10, 20)
    assert [sql.split()[0] for sql in bench.server.statements] == ["SELECT", "UPDATE"]


def test_a_trigger_that_changes_the_mark_is_noticed(bench: Bench) -> None:
    """Nothing is reserved: the row is as it was."""

    def trigger(sql: str) -> None:
        if sql.startswith("UPDATE"):
            bench.row["max_id"] = 7

    bench.server.after = trigger
    with pytest.raises(InvalidRowError, match="trigger"):
        bench.store.reserve(ReservationRequest("order", 1))
    assert bench.row["max_id"] == 0


def test_a_row_that_others_moved_meanwhile_is_reserved_from_where_it_is(bench: Bench) -> None:
    """What was read says no more than where it was: the statement moves it from there only."""
    bench.prove()
    bench.once("UPDATE", lambda: bench.row.update(max_id=50))
    assert bench.store.reserve(ReservationRequest("order", 1)).segment == Segment(50, 60)
    assert bench.row["max_id"] == 60


@pytest.mark.parametrize(
    ("column", "value"), [("ordered", 1), ("ceiling", 5), ("allowed_users", "somebody")]
)
def test_a_row_that_allows_less_meanwhile_is_looked_at_again(
    bench: Bench, column: str, value: object
) -> None:
    """An operator may change it between the read and the statement."""
    bench.prove()
    bench.once("UPDATE", lambda: bench.row.update({column: value}))
    users = frozenset({"caller"})
    if column == "allowed_users":
        assert bench.store.reserve(ReservationRequest("order", 1, users=users)).segment.size == 0
    else:
        with pytest.raises((TagIsOrderedError, TagExhaustedError)):
            bench.store.reserve(ReservationRequest("order", 1, users=users))
    assert bench.row["max_id"] == 10


@pytest.mark.parametrize(
    ("proven", "word"),
    [
        *((False, word) for word in ("BEGIN", "SELECT *, CONNECTION_ID", "UPDATE", "COMMIT")),
        *((True, word) for word in ("SELECT * FROM", "UPDATE")),
    ],
)
def test_a_reservation_that_lost_against_another_is_made_again(
    bench: Bench, word: str, *, proven: bool
) -> None:
    """Galera says so at any statement of it, the commit among them: nothing of it is there."""
    if proven:
        bench.prove()
    mark = int(str(bench.row["max_id"]))
    bench.once(word, lambda: fail_with(1213))
    assert bench.store.reserve(ReservationRequest("order", 1)).segment == Segment(mark, mark + 10)
    assert bench.row["max_id"] == mark + 10
    assert bench.server.sent("SELECT * FROM") == 2


def test_one_that_loses_again_and_again_fails_in_the_end(bench: Bench) -> None:
    """It has reserved nothing, and the connection is as good as before."""
    conflict = OperationalError(1213, "Deadlock found when trying to get lock")

    def lose(sql: str) -> None:
        if sql == "COMMIT":
            raise conflict

    bench.server.before = lose
    with pytest.raises(StoreUnavailableError) as raised:
        bench.store.reserve(ReservationRequest("order", 1))
    assert raised.value.reason is StoreReason.DEADLOCK
    assert not isinstance(raised.value, OutcomeUnknownError)
    assert 1 < bench.server.sent("COMMIT") < 20
    assert bench.row["max_id"] == 0
    bench.server.before = lambda _sql: None
    assert bench.store.reserve(ReservationRequest("order", 1)).segment == Segment(0, 10)


def test_a_mark_is_raised_again_after_a_conflict(bench: Bench) -> None:
    """What the watch on rows does is done again, too."""
    bench.once("UPDATE", lambda: fail_with(1213))
    assert bench.store.raise_mark("order", 0, 40)
    assert bench.row["max_id"] == 40


def test_ids_are_given_back_once_also_after_a_conflict(bench: Bench) -> None:
    """Whoever says that it was undone may be a node that has just lost its cluster."""
    bench.prove()
    bench.once("COMMIT", lambda: fail_with(1213))
    with pytest.raises(StoreUnavailableError):
        bench.store.give_back("order", 3, 10)
    assert bench.server.sent("UPDATE") == 1


def test_a_statement_that_a_proxy_repeats_reserves_once(bench: Bench) -> None:
    """It lost the answer and sent it again: the row is not where it was any more."""
    bench.prove()
    repeated = bench.server.connect()

    def repeat(sql: str) -> None:
        if sql.startswith("UPDATE"):
            bench.server.after = lambda _sql: None
            given = {"app_tag": "order", "seen": 10, "mark": 20}
            names = dict.fromkeys(("ceiling", "allowed_users"))
            repeated.execute(sql, {**given, "ordered": 0, **names})

    bench.server.after = repeat
    bench.store.reserve(ReservationRequest("order", 1))
    assert bench.row["max_id"] == 20


def test_a_low_row_is_a_suspicion_first(bench: Bench) -> None:
    """It is repaired if it still says the same, and suspected anew if it has moved."""
    bench.prove()
    with pytest.raises(RewindSuspectedError):
        bench.store.reserve(ReservationRequest("order", 1, floor=40))
    bench.row["max_id"] = 30
    with pytest.raises(RewindSuspectedError):
        bench.store.reserve(ReservationRequest("order", 1, floor=40, suspected=10))
    reservation = bench.store.reserve(ReservationRequest("order", 1, floor=40, suspected=30))
    assert (reservation.segment, reservation.rewound_from) == (Segment(40, 50), 30)
    assert bench.row["max_id"] == 50


def test_a_repair_is_decided_by_the_row_under_the_lock(bench: Bench) -> None:
    """Another worker has repaired it meanwhile: this one reserves above that."""
    bench.prove()
    bench.once("SELECT *, CONNECTION_ID", lambda: bench.row.update(max_id=100))
    reservation = bench.store.reserve(ReservationRequest("order", 1, floor=40, suspected=10))
    assert (reservation.segment, reservation.rewound_from) == (Segment(100, 110), None)


def test_a_read_from_a_replica_that_lags_repairs_nothing(bench: Bench) -> None:
    """Only the row under the lock is the primary's."""
    bench.prove()
    bench.row["max_id"] = 10
    bench.once("SELECT * FROM", lambda: None)
    bench.once("BEGIN", lambda: bench.row.update(max_id=35))
    with pytest.raises(RewindSuspectedError):
        bench.store.reserve(ReservationRequest("order", 1, floor=40, suspected=10))
    assert bench.row["max_id"] == 35


def test_who_may_not_draw_moves_no_row(bench: Bench) -> None:
    """If none of those who wait may; an ordered tag's row only its owner moves."""
    bench.row["allowed_users"] = "alice"
    for users, size in ((frozenset({"bob"}), 0), (frozenset({"alice", "bob"}), 10)):
        assert bench.store.reserve(ReservationRequest("order", 1, users=users)).segment.size == size
    bench.row["ordered"] = 1
    with pytest.raises(TagIsOrderedError):
        bench.store.reserve(ReservationRequest("order", 1))
    assert bench.store.reserve(ReservationRequest("order", 1, ordered=True)).segment == Segment(
        10, 20
    )


def test_no_mark_goes_above_the_end_of_the_space(bench: Bench) -> None:
    """The last segment is smaller, and then there is none."""
    bench.row["max_id"] = MAX_ID - 3
    assert bench.store.reserve(ReservationRequest("order", 1)).segment == Segment(
        MAX_ID - 3, MAX_ID
    )
    with pytest.raises(TagExhaustedError):
        bench.store.reserve(ReservationRequest("order", 1))
    assert bench.row["max_id"] == MAX_ID


def test_two_rows_of_a_tag_are_refused(bench: Bench) -> None:
    """Without a primary key there may be more than one."""
    bench.server.rows["twin"] = dict(bench.row)
    with pytest.raises(InvalidRowError, match="more than one"):
        bench.store.reserve(ReservationRequest("order", 1))


def test_tags_compare_byte_for_byte(bench: Bench) -> None:
    """Whatever the collation of the table says of them."""
    for other in ("Order", "order "):
        bench.server.rows[other] = {**bench.row, "app_tag": other}
    bench.prove()
    bench.store.reserve(ReservationRequest("order", 1))
    assert bench.store.give_back("order", 15, 20)
    assert bench.store.raise_mark("order", 15, 30)
    assert [row["max_id"] for row in bench.server.rows.values()] == [30, 0, 0]


@pytest.mark.parametrize("mark", [None, -1, "7"])
def test_a_mark_that_is_none_is_refused(bench: Bench, mark: object) -> None:
    """The table may be anything."""
    bench.row["max_id"] = mark
    with pytest.raises(InvalidRowError, match="max_id"):
        bench.store.reserve(ReservationRequest("order", 1))


# Answers that do not come


@pytest.mark.parametrize("word", ["COMMIT", "UPDATE"])
def test_a_lost_answer_may_have_been_a_commit(bench: Bench, word: str) -> None:
    """What is not known to be reserved counts as lost, and is never asked for again."""
    if word == "UPDATE":
        bench.prove()
    before = int(str(bench.row["max_id"]))
    bench.lose_answer(word)
    with pytest.raises(OutcomeUnknownError) as error:
        bench.store.reserve(ReservationRequest("order", 1))
    assert error.value.possibly_reserved == 10
    assert bench.row["max_id"] == before + 10
    assert bench.server.sent(word) == 1


def test_what_is_lost_before_the_commit_has_reserved_nothing(bench: Bench) -> None:
    """The server undoes it with the connection; the next one is seen to keep what is written."""
    bench.lose_answer("UPDATE")
    with pytest.raises(StoreUnavailableError) as error:
        bench.store.reserve(ReservationRequest("order", 1))
    assert not isinstance(error.value, OutcomeUnknownError)
    assert bench.store.reserve(ReservationRequest("order", 1)).segment == Segment(0, 10)
    assert bench.server.sent("COMMIT") == 1


def test_a_new_connection_is_to_be_proven_again(bench: Bench) -> None:
    """It may lead to another server, of which nobody knows what its triggers do."""
    bench.prove()
    bench.once("SELECT * FROM", fail)
    bench.store.reserve(ReservationRequest("order", 1))
    assert bench.server.sent("BEGIN") == 1


def test_much_is_reserved_in_two_parts(bench: Bench) -> None:
    """A lost answer costs what is waited for, or one step; the rest follows once answers come."""
    bench.row["target_cover"] = 60
    bench.prove()
    demand = Demand(rate=10_000.0, previous=10_000)
    bench.lose_answer("UPDATE")
    with pytest.raises(OutcomeUnknownError) as error:
        bench.store.reserve(ReservationRequest("order", 1, demand=demand))
    assert error.value.possibly_reserved == 10
    reservation = bench.store.reserve(ReservationRequest("order", 1, demand=demand))
    assert reservation.segment.size > 1000
    assert bench.row["max_id"] == reservation.segment.right


def test_others_who_reserve_between_two_parts_end_the_first(bench: Bench) -> None:
    """What was to follow is theirs."""
    bench.row["target_cover"] = 60
    bench.prove()

    def other(sql: str) -> None:
        if sql.startswith("UPDATE"):
            bench.server.after = lambda _sql: None
            bench.row["max_id"] = 500

    bench.server.after = other
    demand = Demand(rate=10_000.0, previous=10_000)
    assert bench.store.reserve(ReservationRequest("order", 1, demand=demand)).segment == Segment(
        10, 20
    )
    assert bench.row["max_id"] == 500


def test_nothing_is_begun_once_the_time_is_up(bench: Bench) -> None:
    """Nobody waits for the answer: the ids would be lost."""
    bench.prove()

    def take_time(sql: str) -> None:
        if sql.startswith("SELECT"):
            bench.now += 3

    bench.server.before = take_time
    with pytest.raises(StoreUnavailableError):
        bench.store.reserve(ReservationRequest("order", 1))
    assert bench.row["max_id"] == 10


# Giving back


def test_what_is_given_back_lowers_a_row_that_nobody_moved(bench: Bench) -> None:
    """And no other."""
    bench.prove()
    assert bench.store.give_back("order", 4, 10)
    assert bench.row["max_id"] == 4
    assert not bench.store.give_back("order", 2, 10)
    bench.once("UPDATE", lambda: bench.row.update(max_id=9))
    assert not bench.store.give_back("order", 1, 4)
    assert bench.row["max_id"] == 4  # as it was before the transaction


def test_a_give_back_that_a_proxy_repeats_does_nothing(bench: Bench) -> None:
    """It does so in a session of its own, perhaps when the ids have been reserved again."""
    bench.prove()
    bench.server.statements.clear()
    bench.store.give_back("order", 4, 10)
    (sql,) = [sql for sql in bench.server.statements if sql.startswith("UPDATE")]
    bench.row["max_id"] = 10  # somebody else's by now
    given = {"app_tag": "order", "left": 4, "right": 10, "session": 1}
    assert bench.server.connect().execute(sql, given) == 0
    assert bench.row["max_id"] == 10


def test_a_row_is_raised_from_where_it_was_seen(bench: Bench) -> None:
    """Of several workers that saw it one raises it."""
    assert bench.store.raise_mark("order", 0, 40)
    assert not bench.store.raise_mark("order", 0, 50)
    assert bench.row["max_id"] == 40


# Hosts


def test_a_host_that_refused_a_write_is_not_used_again_untried() -> None:
    """Its connections are given up, and its login proves nothing until it has taken a write."""
    bench = new_bench(TWO_HOSTS)
    other = bench.another()
    bench.store.reserve(ReservationRequest("order", 1))
    other.reserve(ReservationRequest("order", 1))

    def refuse(sql: str) -> None:
        if sql.startswith("UPDATE"):
            raise OperationalError(1030, "no space left")

    bench.server.before = refuse
    with pytest.raises(StoreUnavailableError):
        bench.store.reserve(ReservationRequest("order", 1))
    bench.server.before = lambda _sql: None
    sessions = next(bench.server.sessions)
    other.reserve(ReservationRequest("order", 1))  # moves along, to a connection of its own
    assert next(bench.server.sessions) == sessions + 2
