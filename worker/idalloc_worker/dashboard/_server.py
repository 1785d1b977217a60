"""Serves the dashboard over HTTP until it is told to end."""

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable
from typing import Self

import uvicorn

from idalloc_client import AsyncIdClient
from idalloc_worker._errors import IdAllocWorkerError
from idalloc_worker.dashboard._feed import Feed
from idalloc_worker.dashboard._pages import pages

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_MOST_CONNECTIONS = 200
_LAST_ANSWERS = 2  # seconds


class DashboardAddressError(IdAllocWorkerError):
    """The address cannot be listened on."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(
            f"--listen: cannot listen on {host} port {port}: {error.strerror or error}"
        )


class Dashboard:
    """Listens from the start, so that its address is known; serves once told to."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._host, self._port = listener.getsockname()[:2]

    @classmethod
    def listen(cls, host: str, port: int) -> Self:
        """Take the port; 0 for any. Raises DashboardAddressError."""
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            return cls(socket.create_server((host, port), family=family))
        except OSError as error:
            raise DashboardAddressError(host, port, error) from error

    @property
    def url(self) -> str:
        """Where to look; an IPv6 address stands in brackets."""
        return f"http://{_in_url(self._host)}:{self._port}/"

    @property
    def public(self) -> bool:
        """Whether others than this machine may reach it."""
        return not ipaddress.ip_address(self._host.partition("%")[0]).is_loopback

    async def serve(
        self,
        new_client: Callable[[], AsyncIdClient],
        interval: float,
        on_ready: Callable[[], None],
    ) -> None:
        """Serve until a signal ends it; `on_ready` is called once one would."""
        async with new_client() as client:
            feed = Feed(client, interval)
            server = self._server(feed)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, _end, server)
            on_ready()
            asking = asyncio.create_task(feed.run())
            asking.add_done_callback(lambda _: _end(server))
            await server.serve([self._listener])
            if asking.done():
                await asking  # it never ends but by an error
            asking.cancel()

    def _server(self, feed: Feed) -> uvicorn.Server:
        hosts = ["*"] if self.public else [*_LOOPBACK_NAMES, _in_url(self._host)]
        config = uvicorn.Config(
            pages(feed, hosts),
            access_log=False,
            lifespan="off",
            limit_concurrency=_MOST_CONNECTIONS,
            log_level="critical",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS,
            ws="none",
        )
        return uvicorn.Server(config)


def _end(server: uvicorn.Server) -> None:
    server.should_exit = True


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
