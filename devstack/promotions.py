"""Promotes a replica that lacks the last commits, under a fleet that goes on handing out ids."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from devstack import Database, ReplicatedPair, set_read_only
from devstack.servers._database import create_database, drop_database
from idalloc_client import IdClient

TAG = "order"
STEP = 1000
LOAD = ("--pause=0.01", "--batch=2", f"--tags={TAG}")
"""How each of four callers draws ids: slowly enough for a segment to last for some seconds."""

_PATIENCE = 120.0  # seconds for what is expected to happen, so that a failing run ends


@dataclass(frozen=True)
class Site:
    """A database on both servers of a pair, with the login of a worker."""

    pair: ReplicatedPair
    name: str
    user: str

    @property
    def url(self) -> str:
        """What a worker is given."""
        return self.pair.url(self.user, "pw", self.name)

    @property
    def database(self) -> Database:
        """The database on the primary of the moment."""
        return Database(self.pair.primary.url, self.name)

    def mark(self) -> int:
        """Read how far the primary has got."""
        [(max_id,)] = self.database.query("SELECT max_id FROM segments WHERE app_tag = %s", TAG)
        return int(max_id)

    def wait_for_mark(self, at_least: int) -> None:
        """Wait until workers have reserved so far."""
        mark, risen_at = self.mark(), time.monotonic()
        while mark < at_least:
            time.sleep(0.05)
            now, before, mark = time.monotonic(), mark, self.mark()
            risen_at = now if mark > before else risen_at
            assert now < risen_at + _PATIENCE, f"the mark stays at {mark}"

    def lose_commits_and_promote(self, segments: int = 3) -> int:
        """Kill the primary when the replica lacks so many segments; return the mark that is lost.

        Returns when the workers have reserved above that mark at the new primary.
        """
        self.pair.catch_up()
        self.pair.stop_following()
        self.wait_for_mark(self.mark() + segments * STEP)
        lost = self.mark()
        self.pair.primary.kill()
        self.pair.promote()
        promoted = self.mark()
        assert promoted < lost, "nothing was lost, so nothing was tested"
        self.wait_for_mark(lost + STEP)
        return lost

    def switch_over(self) -> None:
        """Let the two change places as an operator does it: nothing is lost."""
        set_read_only(self.pair.primary, on=True)
        self.pair.catch_up()
        self.pair.promote()


@contextmanager
def replicated_site(pair: ReplicatedPair) -> Iterator[Site]:
    """Create a database that nobody else uses, on both; drop it at the end."""
    name = f"idalloc_test_{secrets.token_hex(6)}"
    user = name[-12:]
    database = create_database(pair.primary.url, name)
    database.query(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    database.query(f"GRANT SELECT, UPDATE ON {name}.* TO '{user}'@'%'")
    database.query(
        "INSERT INTO segments (app_tag, step, target_cover) VALUES (%s, %s, 0)", TAG, STEP
    )
    pair.catch_up()
    yield Site(pair, name, user)
    drop_database(pair.primary.url, name)


def rewinds_repaired(client: IdClient, workers: int) -> int:
    """Add up what each worker counted; asks until each has answered."""
    counts: dict[str, int] = {}
    deadline = time.monotonic() + _PATIENCE
    while len(counts) < workers:
        assert time.monotonic() < deadline, f"only {sorted(counts)} answer"
        reply = client.health(TAG)
        counts[reply.worker] = reply.counters.get("rewinds_repaired", 0)
    return sum(counts.values())
