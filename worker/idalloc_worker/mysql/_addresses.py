"""Remembers which addresses of a host name failed last, so that others are tried first."""

import itertools
import socket
from collections.abc import Sequence

from idalloc_worker.mysql._url import MySqlAddress

Endpoint = tuple[socket.AddressFamily, str | tuple[object, ...]]


class AddressMemory:
    """What a process knows of one name's addresses; any thread may ask and tell.

    The name of a cluster often has one for each node, and one of these may answer and do nothing.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._failures: dict[Endpoint, int] = {}

    def ordered(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Put those that failed behind the others, the last one to fail last.

        Not by turns: name servers do that themselves, and two turns may be none.
        """
        failures = self._failures
        known = {each: failures[each] for each in endpoints if each in failures}
        self._failures = known  # addresses come and go
        return sorted(endpoints, key=lambda endpoint: known.get(endpoint, 0))

    def failed(self, endpoint: Endpoint) -> None:
        """Note that an address was of no use."""
        self._failures[endpoint] = next(self._numbers)


class Route:
    """One connection's way to a host, through the addresses of its name. Owned by one thread."""

    def __init__(self, address: MySqlAddress, memory: AddressMemory) -> None:
        self.address = address
        self._memory = memory
        self._last: Endpoint | None = None

    def endpoints(self) -> list[Endpoint]:
        """Look up where the host may be, best first."""
        address = self.address
        if address.unix_socket:
            return [(socket.AF_UNIX, address.unix_socket)]
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # no name that DNS could have
            raise OSError(f"{address.host!r} is not a host name") from error
        return self._memory.ordered([(family, sockaddr) for family, _, _, _, sockaddr in found])

    def begin(self, endpoint: Endpoint) -> None:
        """Note that an address is tried, and that the one before was of no use."""
        self.failed()
        self._last = endpoint

    def failed(self) -> None:
        """Note that the address that was tried last is of no use, now or any more."""
        if self._last is not None:
            self._memory.failed(self._last)
