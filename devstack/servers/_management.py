"""Talks to RabbitMQ's management HTTP API."""

import base64
import json
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 60.0


class Management:
    """A client of one broker's API; keeps nothing open, so any thread may use it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.user = unquote(parts.username or "guest")
        credentials = f"{self.user}:{unquote(parts.password or 'guest')}"
        self._authorization = "Basic " + base64.b64encode(credentials.encode()).decode()
        host = parts.netloc.rpartition("@")[2]
        self._base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))

    def get(self, path: str) -> Any:
        """Return the JSON document at a path such as `/api/overview`.

        Raises urllib.error.HTTPError, or URLError if nobody answers.
        """
        return self._call("GET", path, None)

    def put(self, path: str, body: dict[str, Any]) -> None:
        self._call("PUT", path, body)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, body)

    def delete(self, path: str) -> None:
        self._call("DELETE", path, None)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            text = response.read()
        return json.loads(text) if text else None


@contextmanager
def scratch_vhost(amqp_url: str, management_url: str, name: str) -> "Iterator[str]":
    """Create a vhost in which the user of `amqp_url` may do everything; yield the URL to it.

    The vhost and all in it is deleted at the end.
    """
    management = Management(management_url)
    path = f"/api/vhosts/{quote(name, safe='')}"
    user = unquote(urlsplit(amqp_url).username or "guest")
    management.put(path, {})
    try:
        management.put(
            f"/api/permissions/{quote(name, safe='')}/{quote(user, safe='')}",
            {"configure": ".*", "write": ".*", "read": ".*"},
        )
        yield urlsplit(amqp_url)._replace(path=f"/{quote(name, safe='')}").geturl()
    finally:
        management.delete(path)
