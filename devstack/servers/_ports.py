"""Finds free loopback ports that nobody takes while a server restarts."""

import itertools
import random
import socket

# Below the range that Linux gives to outgoing connections (32768 and up): a client that keeps
# connecting to a stopped server on a port of that range ends up connected to itself.
_PORTS = range(20000, 32000)


def free_port() -> int:
    """Return a port that is free on 127.0.0.1 and that no process has been given as yet."""
    for _ in itertools.repeat(None, 1000):
        port = random.choice(_PORTS)
        if _is_free(port) and _claim(port):
            return port
    raise OSError("no free port on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Take a port's name among abstract sockets, until this process ends."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0idalloc-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()
    return True
