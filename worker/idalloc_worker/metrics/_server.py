"""The HTTP server that Prometheus and probes ask."""

import logging
import socket
import sys
import threading
import time
from http.client import LineTooLong
from io import BufferedIOBase
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from idalloc_worker._errors import IdAllocWorkerError
from idalloc_worker._vitals import Vitals
from idalloc_worker.metrics._admission import LONGEST, Admission
from idalloc_worker.metrics._app import ProbesAndMetrics
from idalloc_worker.metrics._collector import WorkerCollector
from idalloc_worker.metrics._sources import ProcessState, Source
from idalloc_worker.metrics._tls import ServerTls
from idalloc_worker.settings import Settings

_log = logging.getLogger("idalloc.metrics")

_AFTER_NO_DESCRIPTOR = 0.1  # seconds
_LARGEST_REQUEST = 16_384  # bytes


class MetricsPortError(IdAllocWorkerError):
    """The address for the metrics cannot be listened on."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(
            f"IDALLOC_METRICS_PORT: cannot listen on {host} port {port}: {error.strerror or error}"
        )


class MetricsTlsError(IdAllocWorkerError):
    """The certificate for the metrics cannot be used."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"IDALLOC_METRICS_TLS_...: the files cannot be used: {error}")


class MetricsServer:
    """Listens from the start, so that a port in use ends the command; serves once told what."""

    def __init__(
        self, listener: "_HttpServer", vitals: Vitals, token_file: Path | None = None
    ) -> None:
        self._listener = listener
        self._vitals = vitals
        self._token_file = token_file

    @classmethod
    def listen(cls, settings: Settings, vitals: Vitals) -> Self | None:
        """Take the port; None if the metrics are off. Raises MetricsPortError, MetricsTlsError."""
        if not settings.metrics_port:
            return None
        host, port = settings.metrics_host, settings.metrics_port
        try:
            tls = ServerTls.of(settings)
        except OSError as error:
            raise MetricsTlsError(error) from error
        try:
            return cls(_HttpServer(host, port, tls), vitals, settings.metrics_token_file)
        except OSError as error:
            raise MetricsPortError(host, port, error) from error

    def serve(self, source: Source) -> None:
        """Serve on threads of its own until the process ends.

        Raises RuntimeError if there is none to be had; it may be called again then.
        """
        registry = CollectorRegistry()
        registry.register(WorkerCollector(_OneAtATime(source)))
        metrics = make_wsgi_app(registry)
        self._listener.set_app(ProbesAndMetrics(metrics, self._vitals, self._token_file))
        threading.Thread(
            target=self._listener.serve_forever, name="idalloc-metrics-http", daemon=True
        ).start()
        _log.info("Metrics are at %s", self._listener.url)


class _OneAtATime:
    """Lets scrapes that come together share what the processes say: asking takes its time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._begun = 0  # scrapes that have begun to ask
        self._latest: list[ProcessState] = []

    def gather(self) -> list[ProcessState]:
        begun_before = self._begun
        with self._lock:
            # If another one began to ask after this one came, its answers are fresh enough.
            if self._begun <= begun_before:
                self._begun += 1
                self._latest = list(self._source.gather())
            return self._latest


class _BoundedRequest(BufferedIOBase):
    """A request's bytes, up to as many as any request needs."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = _LARGEST_REQUEST

    def readline(self, size: int | None = -1, /) -> bytes:
        if self._left <= 0:
            raise LineTooLong("request")  # which the handler answers with 431
        line = self._stream.readline(min(self._left, size if size and size > 0 else self._left))
        self._left -= len(line)
        return line

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Handler(WSGIRequestHandler):
    timeout = LONGEST
    server: "_HttpServer"

    def setup(self) -> None:
        super().setup()
        self.rfile = _BoundedRequest(self.rfile)

    def parse_request(self) -> bool:
        """Note that the request is there: nobody who comes later takes its place."""
        parsed = super().parse_request()
        if parsed:
            self.server.admission.asked(self.connection)
        return parsed

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base names it
        _log.debug(format, *args)


class _HttpServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # a port that is in use is to be noticed
    request_queue_size = 128  # a crowd is sorted out here, not by the kernel's retries

    def __init__(self, host: str, port: int, tls: ServerTls | None = None) -> None:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = infos[0][0]
        self.admission = Admission()
        self._tls = tls
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service for the name of this host, which can take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; where no descriptor is left, wait: it would be asked for at once."""
        try:
            connection, address = super().get_request()
            return (connection if self._tls is None else self._tls.wrap(connection)), address
        except OSError:
            time.sleep(_AFTER_NO_DESCRIPTOR)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Let it in, or have it closed before it costs a thread."""
        return self.admission.admit(request, str(client_address[0]))

    def close_request(self, request: Any) -> None:
        """Close a connection, whichever way it ended."""
        self.admission.gone(request)
        super().close_request(request)

    def service_actions(self) -> None:
        """Cut what lasts too long: called twice a second, and after each connection."""
        self.admission.cut_overdue()

    @property
    def url(self) -> str:
        """Where to look; an IPv6 address stands in brackets."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host}:{self.server_port}/metrics"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # its shape
        """Log what went wrong with one request; one that has gone, or was cut, is no news."""
        usual = isinstance(sys.exception(), OSError)
        level = logging.DEBUG if usual else logging.WARNING
        _log.log(level, "A request for metrics from %s failed", client_address, exc_info=True)
