"""The URLs of broker and database, with the password where that is given apart, and from files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from idalloc_client.amqp import UrlSource, connection_parameters, read_secret, with_password
from idalloc_worker.mysql import MySqlAddress

SERVERS: Final = ("amqp", "mysql")
_KINDS: Final = ("url", "password")

Secret = SecretStr | Path
"""What is known, or the file that it is in."""


@dataclass(frozen=True, slots=True)
class SecretUrl:
    """A URL that is put together anew whenever it is asked for, as its files may have changed."""

    url: Secret
    password: Secret | None

    def __call__(self) -> str:
        """Read it. Raises OSError, ValueError."""
        url = _read(self.url)
        return url if self.password is None else with_password(url, _read(self.password))


def _read(secret: Secret) -> str:
    return read_secret(secret) if isinstance(secret, Path) else secret.get_secret_value()


def url_of(settings: object, server: str) -> UrlSource | None:
    """Give the URL of a server: a text, or what reads it anew; None if none is configured."""
    url: Secret | None = getattr(settings, f"{server}_url_file") or getattr(
        settings, f"{server}_url"
    )
    if url is None:
        return None
    password = getattr(settings, f"{server}_password_file") or getattr(
        settings, f"{server}_password"
    )
    source = SecretUrl(url, password)
    return source if files_of(settings, server) else source()


def files_of(settings: object, *servers: str) -> list[Path]:
    """List the files that secrets are in."""
    names = [f"{server}_{kind}_file" for server in servers or SERVERS for kind in _KINDS]
    return [path for name in names if (path := getattr(settings, name)) is not None]


def given_twice(origins: Mapping[str, str]) -> list[str]:
    """Say which secrets are given themselves and as a file, by the names that the user gave."""
    pairs = [f"{server}_{kind}" for server in SERVERS for kind in _KINDS]
    return [
        f"{origins[f'{name}_file']}: cannot stand beside {origins[name]}; set one of them"
        for name in pairs
        if name in origins and f"{name}_file" in origins
    ]


def unusable(settings: object, origins: Mapping[str, str]) -> list[str]:
    """Say which URLs cannot be used as they are put together."""
    problems = []
    for server in SERVERS:
        parts = [f"{server}_{what}" for what in ("password_file", "password", "url_file", "url")]
        named = [origins[name] for name in parts if name in origins]
        try:
            url = url_of(settings, server)
            if url is not None and named:
                _check(server, url)
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) else error
            problems.append(f"{' with '.join(named)}: {words}")
    return problems


def _check(server: str, url: UrlSource) -> None:
    if server == "amqp":
        connection_parameters(url, "")
    else:
        MySqlAddress.parse(url)
