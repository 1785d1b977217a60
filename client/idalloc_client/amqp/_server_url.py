"""Takes a server's URL apart, and never repeats it in a message: it holds a password."""

import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

_ENCODE_HINT = "characters such as / ? # @ : in a user name or password are written %2F %3F %23 %40"
_LOGIN_AMONG_HOSTS: Final = re.compile(r"@[^@,]*,")  # in what stands before the last @
_OPTION: Final = r"(?i:[a-z][a-z0-9_-]{0,40})"


_Parsed = TypeVar("_Parsed")


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
        host=decoded(parts.hostname or ""),
        port=_port(parts),
        user=decoded(parts.username or ""),
        password=decoded(parts.password or ""),
        path=parts.path,
        query=parts.query,
    )


def split_server_urls(url: str, schemes: Collection[str]) -> list[ServerUrl]:
    """Split a URL that may list hosts, `host:port,host:port`, into one URL for each of them.

    Raises ValueError like `split_server_url`, saying which of several hosts it is about.
    """
    urls = split_hosts(url)
    if len(urls) == 1:
        return [split_server_url(url, schemes)]
    return [
        _split_one_of(each, schemes, number, len(urls)) for number, each in enumerate(urls, start=1)
    ]


def split_hosts(url: str) -> list[str]:
    """Give a URL of its own to each host that a URL lists.

    Raises ValueError, whose message shows nothing of the URL.
    """
    _check_characters(url)
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    listed = hosts.split(",")
    if "," in authority and "://" in rest.partition("?")[0]:
        raise ValueError("is more than one URL; write one, with its hosts as host1:port,host2:port")
    if ";" in hosts:
        raise ValueError("has a semicolon among the hosts; a comma stands between two hosts")
    if _LOGIN_AMONG_HOSTS.search(login):
        raise ValueError(
            "gives a login among the hosts; one login before the first host serves all of them, "
            "and in a password @ is written %40 and a comma %2C"
        )
    if len(listed) == 1:
        return [url]
    for number, host in enumerate(listed, start=1):
        if re.fullmatch(r"(:\d*)?", host):
            raise ValueError(
                f"host {number} of {len(listed)} is empty; a comma stands between two hosts"
            )
    after = rest.removeprefix(authority)
    return [f"{scheme}{separator}{login}{at}{host}{after}" for host in listed]


def with_password(url: str, password: str) -> str:
    """Add a password to a URL that names a user.

    Raises ValueError, whose message shows nothing of the URL.
    """
    user, rest = login_apart(url)
    if ":" in user:
        raise ValueError("has a password, and another one is given beside it; drop either")
    if not user:
        raise ValueError("names no user for the password that is given beside it")
    return rest.replace("://", f"://{user}:{quote(password, safe='')}@", 1)


def login_apart(url: str) -> tuple[str, str]:
    """Take what stands before the hosts out of a URL, as it is written there."""
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, _ = authority.rpartition("@")
    return login, scheme + separator + rest.removeprefix(login + at)


def unknown_options(url: str, unknown: Iterable[str], known: Iterable[str]) -> str:
    """Say which options a URL cannot have.

    They are named only where they cannot be a part of an unquoted password.
    """
    before, _, query = url.partition("?")
    safe = "@" in before and "@" not in query and all(map(partial(re.fullmatch, _OPTION), unknown))
    names = f": {', '.join(sorted(unknown))}" if safe else ""
    return f"has an unknown option{names}; known are {', '.join(sorted(known))}"


def _split_one_of(url: str, schemes: Collection[str], number: int, count: int) -> ServerUrl:
    try:
        return split_server_url(url, schemes)
    except ValueError as error:  # neither its text nor its context shows anything of the URL
        raise ValueError(f"host {number} of {count}: {error}") from None


def _check_characters(url: str) -> None:
    if any(not char.isprintable() or char.isspace() for char in url):
        raise ValueError("must not contain spaces or control characters")


def _split(url: str) -> SplitResult:
    _check_characters(url)
    parts = quietly(urlsplit, url)
    if parts is None:
        raise ValueError(f"is not a URL; {_ENCODE_HINT}")
    return parts


def _port(parts: SplitResult) -> int | None:
    port: int | None = 0
    with suppress(ValueError):
        port = parts.port
    if port == 0:
        raise ValueError(f"must have a port from 1 to 65535 or none; {_ENCODE_HINT}")
    return port


def decoded(text: str) -> str:
    """Decode a part of a URL. Raises ValueError, which shows nothing of it."""
    plain = quietly(partial(unquote, errors="strict"), text)
    if plain is None:
        raise ValueError("has percent-encoded bytes that are not UTF-8")
    return plain


def quietly(parse: Callable[[str], _Parsed], text: str) -> _Parsed | None:
    """Return what a text is, or None if it cannot be.

    What Python raises then quotes the text, and would stay with an error that is raised meanwhile.
    """
    try:
        return parse(text)
    except ValueError:
        return None
