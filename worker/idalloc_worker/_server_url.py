"""Takes a server's URL apart, and never repeats it in a message: it holds a password."""

from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

_ENCODE_HINT = "characters such as / ? # @ : in a user name or password are written %2F %3F %23 %40"


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The decoded parts of a URL; `query` and `path` are still percent-encoded."""

    host: str
    port: int | None
    user: str
    password: str = field(repr=False)
    path: str
    query: str


def split_server_url(url: str, schemes: Collection[str]) -> ServerUrl:
    """Split `url`, which must have one of `schemes`.

    Raises ValueError, whose message says what is wrong and shows nothing of the URL.
    """
    parts = _split(url)
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{name}://' for name in schemes)}")
    if parts.fragment:
        raise ValueError(f"must not have a part after #; {_ENCODE_HINT}")
    return ServerUrl(
        host=_decode(parts.hostname or ""),
        port=_port(parts),
        user=_decode(parts.username or ""),
        password=_decode(parts.password or ""),
        path=parts.path,
        query=parts.query,
    )


def _split(url: str) -> SplitResult:
    if any(not char.isprintable() or char.isspace() for char in url):
        raise ValueError("must not contain spaces or control characters")
    try:
        return urlsplit(url)
    except ValueError:  # its text may repeat the password
        raise ValueError(f"is not a URL; {_ENCODE_HINT}") from None


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:  # its text may repeat the password
        port = 0
    if port == 0:
        raise ValueError(f"must have a port from 1 to 65535 or none; {_ENCODE_HINT}")
    return port


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:  # it carries the text
        raise ValueError("has percent-encoded bytes that are not UTF-8") from None
