"""A table in a cluster of databases, who uses it, and what they may not see."""

import secrets
from dataclasses import dataclass

from devstack.clusters import DatabaseCluster, url_of
from devstack.history import Reply, check, fleet_disorders
from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.store._admin_session import AdminSession
from idalloc_worker.store._schema import create_schema
from idalloc_worker.store._tags import TagAdmin, TagRow

CALLERS = 6
WORKERS = 3
STEP = 100
"""Ids for a second or so: whatever the cluster does, callers notice."""
ORDINARY, ORDERED = "order", "ledger"
LOAD = ("--timeout=30", "--pause=0.01", "--batch=2", f"--tags={ORDINARY},{ORDERED}")


@dataclass(frozen=True)
class Site:
    """A table that nobody else uses, with an ordinary and an ordered tag."""

    cluster: DatabaseCluster
    table: str

    @classmethod
    def create(cls, cluster: DatabaseCluster) -> "Site":
        site = cls(cluster, f"segments_{secrets.token_hex(4)}")
        create_schema(site.address(), site.table)
        with AdminSession(site.address()) as session:
            admin = TagAdmin(session, site.table)
            admin.add(ORDINARY, STEP, values={"target_cover": 0})
            admin.add(ORDERED, STEP, values={"target_cover": 0, "ordered": 1})
        return site

    def drop(self) -> None:
        """Leave nothing behind in a cluster that is somebody else's."""
        with AdminSession(self.address()) as session:
            session.change(f"DROP TABLE {self.table}")

    def rows(self, number: int) -> dict[str, TagRow]:
        """Read the table at one node."""
        with AdminSession(self.address(number)) as session:
            return {row.app_tag: row for row in TagAdmin(session, self.table).list()}

    def address(self, *numbers: int) -> MySqlAddress:
        """Name these nodes, the preferred one first; all without a number."""
        return MySqlAddress.parse(url_of(self.cluster, *numbers))


def judge(replies: list[Reply]) -> None:
    """No id went out twice, and those of the ordered tag rose."""
    check(replies).assert_clean()
    assert not fleet_disorders(reply for reply in replies if reply.app_tag == ORDERED)
