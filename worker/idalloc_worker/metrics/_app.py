"""What the HTTP server answers: /metrics to Prometheus, /livez and /readyz to whoever probes."""

import hmac
import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from idalloc_worker._vitals import Vitals

_PROBES: Final = {"/livez": "live", "/readyz": "ready"}
_JSON: Final = "application/json"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class ProbesAndMetrics:
    """A WSGI application around that of the metrics, which wants a token where there is one.

    Probes want none: whoever runs the worker's container can send none of its own.
    """

    def __init__(self, metrics: App, vitals: Vitals, token_file: Path | None = None) -> None:
        self._metrics = metrics
        self._vitals = vitals
        self._token_file = token_file

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        if path not in {"/metrics", *_PROBES}:
            return _answer(start_response, HTTPStatus.NOT_FOUND, "not found\n")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _answer(start_response, HTTPStatus.METHOD_NOT_ALLOWED, "GET or HEAD\n")
        if path in _PROBES:
            return self._probe(_PROBES[path], environ.get("HTTP_ACCEPT", ""), start_response)
        if not self._is_allowed(environ.get("HTTP_AUTHORIZATION", "")):
            ask = ("WWW-Authenticate", "Bearer")
            return _answer(start_response, HTTPStatus.UNAUTHORIZED, "bearer token needed\n", ask)
        return self._metrics(environ, start_response)

    def _probe(self, probe: str, accept: str, start_response: StartResponse) -> Iterable[bytes]:
        problems = self._vitals.problems(probe)
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        if _JSON not in accept:
            text = "".join(f"{line}\n" for line in problems or [probe])
            return _answer(start_response, status, text)
        body = json.dumps({probe: not problems, "problems": problems}) + "\n"
        return _answer(start_response, status, body, content_type=_JSON)

    def _is_allowed(self, authorization: str) -> bool:
        """Read the token at each request: one that is replaced counts at once."""
        if self._token_file is None:
            return True
        try:
            token = self._token_file.read_bytes().strip()
        except OSError:
            return False
        scheme, _, given = authorization.partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), token)
        return bool(token) and scheme.lower() == "bearer" and right


def _answer(
    start_response: StartResponse,
    status: HTTPStatus,
    text: str,
    *headers: tuple[str, str],
    content_type: str = "text/plain; charset=utf-8",
) -> Iterable[bytes]:
    body = text.encode()
    start_response(
        f"{status.value} {status.phrase}",
        [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            *headers,
        ],
    )
    return [body]
