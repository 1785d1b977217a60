"""RabbitMQ's management HTTP API, as far as setting up a broker needs it."""

import base64
import json
import urllib.request
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from idalloc_worker._errors import IdAllocWorkerError

_TIMEOUT: Final = 15.0  # seconds, for each answer
_NOT_FOUND: Final = 404
_LONGEST: Final = 300  # characters of what the broker says
_ADVICE: Final = {
    401: "it refuses this user and password",
    403: "this user may not do that; it needs the tag administrator",
}


class BrokerApiError(IdAllocWorkerError):
    """The broker could not be asked, or refused. Its text has no password."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: urllib would send the password along to wherever it is sent."""

    def redirect_request(self, *_: object) -> None:
        return None


class BrokerApi:
    """One broker's API; keeps nothing open."""

    def __init__(self, url: str, password: str) -> None:
        """`url` is checked by `api_url`; it has the user."""
        parts = urlsplit(url)
        self.user = unquote(parts.username or "")
        credentials = f"{self.user}:{password}".encode()
        self._authorization = "Basic " + base64.b64encode(credentials).decode()
        host = parts.netloc.rpartition("@")[2]
        self._base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        # Without a proxy: it would read the password.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def get(self, *path: str) -> Any:
        """Return what there is at a path, and None if there is nothing."""
        return self._call("GET", path, None)

    def put(self, body: object, *path: str) -> None:
        """Create something, or change it."""
        self._call("PUT", path, body)

    def post(self, body: object, *path: str) -> None:
        """Add something that gets its name from the broker."""
        self._call("POST", path, body)

    def _call(self, method: str, path: tuple[str, ...], body: object) -> Any:
        where = "/api/" + "/".join(quote(part, safe="") for part in path)
        request = urllib.request.Request(  # noqa: S310  # `api_url` lets http and https through
            self._base + where,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as response:
                text = response.read()
            return json.loads(text) if text else None
        except HTTPError as error:
            if method == "GET" and error.code == _NOT_FOUND:
                return None
            raise BrokerApiError(self._refused(method, where, error)) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise BrokerApiError(
                f"the management API at {self._base} cannot be used: {reason or error!r}"
            ) from None

    def _refused(self, method: str, where: str, error: HTTPError) -> str:
        said = " ".join(error.read(_LONGEST).decode(errors="replace").split())
        advice = _ADVICE.get(error.code, said)
        return f"the management API at {self._base}: {method} {where}: {error.code}: {advice}"


def api_url(url: str) -> str:
    """Return a URL such as `http://user@host:15672`, checked.

    Raises ValueError, whose message shows nothing of it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        user, password = parts.username, parts.password
    except ValueError:
        usable, user, password = False, None, None
    if not usable or not user:
        raise ValueError("must look like http://user@host:15672")
    if password is not None:
        raise ValueError(
            "must not have a password in it, as everybody on this machine may see it; "
            "it is asked for, or read from IDALLOC_BROKER_PASSWORD or --password-file"
        )
    return url
