"""A PyMySQL connection that ends where the server's answer is larger than any it can have."""

import functools
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from pymysql.connections import Connection
from pymysql.err import OperationalError

LARGEST_LOGIN: Final = 2**20
"""Bytes of all that a server says until it has let us in."""

LARGEST_ANSWER: Final = 256 * 2**20
"""Bytes of an answer: a list of a million tags, and no list that never ends."""

_COST_OF_READ: Final = 32  # bytes that a header or a body takes in memory, beside its own
_MALFORMED: Final = 2027  # the client's own number for a packet that cannot be


class BoundedConnection(Connection):
    """Counts what is read for each statement; owned by one thread.

    PyMySQL itself reads rows, columns, results and parts of a packet for as long as they come.
    """

    _unread = LARGEST_LOGIN

    def _create_ssl_ctx(self, given: ssl.SSLContext | Mapping[str, object]) -> ssl.SSLContext:
        return given if isinstance(given, ssl.SSLContext) else _unchecked()

    def query(self, sql: str | bytes, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002  # PyMySQL's signature
        """Run a statement."""
        self._unread = LARGEST_ANSWER
        return super().query(sql, unbuffered)

    def _read_bytes(self, num_bytes: int) -> bytes:
        self._unread -= num_bytes + _COST_OF_READ
        if self._unread < 0:
            raise OperationalError(_MALFORMED, "its answer is longer than any answer can be")
        data: bytes = super()._read_bytes(num_bytes)  # type: ignore[misc]  # not in the stubs
        return data


@functools.cache
def _unchecked() -> ssl.SSLContext:
    """Return what encrypts where the server offers it; nobody checks who that is.

    PyMySQL would read the machine's authorities for it at each connection, which takes far longer
    than all else.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def check_width(rows: Sequence[Sequence[object]], columns: int) -> None:
    """Raise ValueError unless each row has a value for each column: PyMySQL does not look."""
    if any(len(row) != columns for row in rows):
        raise ValueError("a row does not have one value for each column")
