"""Several nodes of Galera take writes at once: what idalloc relies on holds there."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from devstack.clusters import GaleraCluster, connections_to, url_of, wait_until_whole
from devstack.history import load as read
from devstack.workers import PATIENCE, Fleet
from idalloc_client import IdClient
from idalloc_worker.engine._effects import ReservationRequest
from idalloc_worker.mysql._host_choice import MySqlHosts
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._migrate import migrate
from idalloc_worker.store._store import SegmentStore
from idalloc_worker.store._tags import TagAdmin
from idalloc_worker.tags._errors import StoreReason, StoreUnavailableError
from idalloc_worker.tags._segment import Segment
from tests.faults.conftest import Load
from tests.faults.sites import CALLERS, ORDERED, ORDINARY, STEP, WORKERS, Site, judge
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

ONE = ReservationRequest(ORDINARY, 1)
SEGMENTS = 200
"""How many of each tag are reserved while workers are in each other's way."""


@pytest.fixture(scope="module")
def galera() -> Iterator[GaleraCluster]:
    with GaleraCluster() as running:
        yield running


@pytest.fixture
def site(galera: GaleraCluster) -> Site:
    created = Site.create(galera)
    wait_until(lambda: all(there(created, number) for number in range(3)))
    return created


def there(site: Site, number: int) -> bool:
    """Whether the table has come to a node."""
    try:
        return len(site.rows(number)) == 3
    except StoreUnavailableError:
        return False


@contextmanager
def opened(site: Site, *numbers: int) -> Iterator[SegmentStore]:
    """Give a store that prefers these nodes."""
    store = SegmentStore(MySqlHosts(site.address(*numbers)), site.table, PATIENCE)
    with closing(store):
        yield store


@contextmanager
def isolated(galera: GaleraCluster, number: int) -> Iterator[None]:
    """Cut a node off from the others for the time of a block."""
    node = galera.nodes[number]
    node.isolate()
    try:
        wait_until(lambda: node.state()["wsrep_ready"] == "OFF")
        wait_until(lambda: galera.nodes[(number + 1) % 3].online() == 2)
        yield
    finally:
        node.isolate(on=False)
        wait_until_whole(galera)


def step_in(
    monkeypatch: pytest.MonkeyPatch, store: SegmentStore, name: str, action: Callable[[], object]
) -> None:
    """Do something before the first time that a store's session does something."""
    real = getattr(store._session, name)

    def first(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(store._session, name, real)
        action()
        return real(*arguments, **options)

    monkeypatch.setattr(store._session, name, first)


def mark(site: Site, number: int) -> int:
    return int(site.rows(number)[ORDINARY].max_id)


def marks(site: Site) -> list[int]:
    return [row.max_id for name, row in site.rows(0).items() if name in {ORDINARY, ORDERED}]


def failure(call: Callable[[], object]) -> StoreUnavailableError:
    with pytest.raises(StoreUnavailableError) as raised:
        call()
    return raised.value


def test_workers_at_different_nodes_reserve_no_id_twice(
    vhost: str, galera: GaleraCluster, site: Site, load: Load, tmp_path: Path
) -> None:
    """Each prefers another node: certification lets one of two reservations through."""
    with Fleet(vhost, "") as fleet:
        for first in range(WORKERS):
            fleet.mysql_url = url_of(galera, *((first + number) % 3 for number in range(3)))
            fleet.start(1, table=site.table)
        load.begin(CALLERS, vhost, "--timeout=30", "--batch=40", f"--tags={ORDINARY},{ORDERED}")
        wait_until(lambda: min(marks(site)) >= SEGMENTS * STEP)
        assert all(connections_to(galera, node) > 1 for node in galera.nodes)
        load.end_without_errors()
        with IdClient(vhost) as client:
            counters = [reply.counters for reply in client.fleet_health()]
    replies = read(tmp_path)
    judge(replies)
    told = {
        name: sum(each[name] for each in counters)
        for name in ("refills", "refills_failed", "refills_unknown", "rewinds_repaired")
    }
    conflicts = sum(node.conflicts() for node in galera.nodes)
    print(f"{len(replies)} replies, {conflicts} conflicts, {told}")  # noqa: T201  # see -rP
    assert (told["refills_unknown"], told["rewinds_repaired"]) == (0, 0)


@pytest.mark.parametrize("proven", [False, True])
def test_a_reservation_that_lost_at_its_commit_is_made_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, proven: bool
) -> None:
    """Another node was faster: error 1213, at once above what that one has reserved."""
    with opened(site, 0) as here, opened(site, 1) as other:
        other.reserve(ONE)
        if proven:
            wait_until(lambda: mark(site, 0) == STEP)
            here.reserve(ONE)
        wait_until(lambda: mark(site, 0) == mark(site, 1))
        before = mark(site, 1)
        step_in(monkeypatch, here, "change" if proven else "commit", lambda: other.reserve(ONE))
        assert here.reserve(ONE).segment == Segment(before + STEP, before + 2 * STEP)
        wait_until(lambda: mark(site, 2) == before + 2 * STEP)


def test_what_a_stopping_worker_gives_back_is_not_what_another_has(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node reserves while the row is locked here: the row stays above that."""
    with opened(site, 0) as here, opened(site, 1) as other:
        here.reserve(ONE)
        wait_until(lambda: mark(site, 1) == STEP)
        step_in(monkeypatch, here, "commit", lambda: other.reserve(ONE))
        error = failure(lambda: here.give_back(ORDINARY, 40, STEP))
        assert error.reason is StoreReason.DEADLOCK
        wait_until(lambda: mark(site, 0) == mark(site, 2) == 2 * STEP)


def test_a_node_without_a_quorum_is_left(galera: GaleraCluster, site: Site) -> None:
    """Whoever is connected there is refused once; whoever comes passes it over."""
    with opened(site, 0, 1) as store:
        store.reserve(ONE)
        with isolated(galera, 0):
            assert failure(lambda: store.reserve(ONE)).errno == 1047
            assert store.reserve(ONE).segment == Segment(STEP, 2 * STEP)
            with opened(site, 0, 2) as late:
                assert late.reserve(ONE).segment == Segment(2 * STEP, 3 * STEP)


def test_a_single_node_without_a_quorum_is_used_again_when_it_has_one(
    galera: GaleraCluster, site: Site
) -> None:
    """The error says what is wrong; nothing is to be done once the node is back."""
    with opened(site, 0) as store:
        store.reserve(ONE)
        with isolated(galera, 0):
            for _ in range(3):
                error = failure(lambda: store.reserve(ONE))
                assert (error.reason, error.errno) == (StoreReason.NOT_WRITABLE, 1047)
        assert store.reserve(ONE).segment == Segment(STEP, 2 * STEP)


def test_commands_at_one_node_are_seen_at_the_others(site: Site) -> None:
    """A table of four columns is migrated under a worker; tags are added, changed, removed."""
    with AdminSession(site.address(1)) as session, opened(site, 0) as store:
        session.change(f"ALTER TABLE {site.table} DROP COLUMN user_rate")
        store.reserve(ONE)
        assert migrate(site.address(2), site.table).added == ("user_rate",)
        store.reserve(ONE)
        tags = TagAdmin(session, site.table)
        tags.add("invoice", 10)
        tags.set("invoice", values={"step": 20, "user_rate": 5})
        tags.raise_mark("invoice", 1000)
        wait_until(lambda: "invoice" in site.rows(0))
        wait_until(lambda: site.rows(0)["invoice"].max_id == 1000)
        assert store.reserve(ReservationRequest("invoice", 1)).segment == Segment(1000, 1020)
        wait_until(lambda: site.rows(1)["invoice"].max_id == 1020)
        assert tags.remove("invoice").max_id == 1020
        wait_until(lambda: "invoice" not in site.rows(2))
