"""Has a private server keep the answers to commits: each waits for a replica that does not come."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pymysql.connections import Connection

from devstack.servers._database import connect


@contextmanager
def commits_hang(server_url: str, wait_point: str = "AFTER_COMMIT") -> Iterator[None]:
    """Let commits wait for the time of a block, when they are done or while they hold their locks.

    The server needs a binary log, so a `server_id`.
    """
    with closing(connect(server_url)) as connection:
        settings, lone = _semi_synchronous(connection)
        try:
            for setting in (
                f"{settings}_timeout = 3600000",
                f"{settings}_wait_no_{lone} = ON",
                f"{settings}_wait_point = {wait_point}",
                f"{settings}_enabled = ON",
            ):
                _run(connection, f"SET GLOBAL {setting}")
            yield
        finally:
            _run(connection, f"SET GLOBAL {settings}_enabled = OFF")


def _semi_synchronous(connection: Connection) -> tuple[str, str]:
    """Tell how the server's settings for it begin, and what it calls a replica there."""
    if _run(connection, "SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'"):
        return "rpl_semi_sync_master", "slave"
    if not _run(connection, "SHOW VARIABLES LIKE 'rpl_semi_sync_source_enabled'"):  # MySQL
        _run(connection, "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'")
    return "rpl_semi_sync_source", "replica"


def _run(connection: Connection, sql: str) -> int:
    with connection.cursor() as cursor:
        return cursor.execute(sql)
