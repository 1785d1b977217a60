"""Where the database is and how to log in there, from a `mysql://` URL."""

from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qsl, unquote

from idalloc_worker._server_url import ServerUrl, split_server_url

DEFAULT_DATABASE: Final = "id_alloc_db"
DEFAULT_PORT: Final = 3306
_LONGEST_DATABASE: Final = 64
_OPTIONS: Final = ("ssl", "ssl_ca", "ssl_verify_identity", "unix_socket")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class MySqlAddress:
    """A database and the login for it. Its repr hides the password.

    `ssl` None means TLS where the server offers it, True that it must, False never. With `ssl_ca`,
    or with `ssl_verify_identity`, the server's certificate is checked.
    """

    user: str
    password: str = field(default="", repr=False)
    host: str = "localhost"
    port: int = DEFAULT_PORT
    database: str = DEFAULT_DATABASE
    unix_socket: str | None = None
    ssl: bool | None = None
    ssl_ca: str | None = None
    ssl_verify_identity: bool | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `mysql://user:password@host:port/database?ssl_ca=/path&unix_socket=/path`.

        Raises ValueError, whose message shows nothing of the URL but known option names.
        """
        parts = split_server_url(url, ("mysql",))
        options = _options(parts.query)
        unix_socket = options.get("unix_socket")
        if not parts.host and not unix_socket:
            raise ValueError("names no host")
        if not parts.user:
            raise ValueError("names no user")
        ssl = _boolean(options, "ssl")
        verify = _boolean(options, "ssl_verify_identity")
        if ssl is False and (verify or "ssl_ca" in options):
            raise ValueError("asks for ssl=false and for a certificate check at once")
        return cls(
            user=parts.user,
            password=parts.password,
            host=parts.host or "localhost",
            port=parts.port or DEFAULT_PORT,
            database=_database(parts),
            unix_socket=unix_socket,
            ssl=ssl,
            ssl_ca=options.get("ssl_ca"),
            ssl_verify_identity=verify,
        )

    @property
    def verifies_certificate(self) -> bool:
        """Whether the server has to show a certificate that a known authority signed."""
        return self.ssl_ca is not None or bool(self.ssl_verify_identity)

    @property
    def verifies_identity(self) -> bool:
        """Whether that certificate has to name the host; `ssl_verify_identity=false` waives it."""
        if self.ssl_verify_identity is None:
            return self.ssl_ca is not None
        return self.ssl_verify_identity

    def __str__(self) -> str:
        """Name the server for a log line, without the login."""
        if self.unix_socket:
            return f"{self.unix_socket}/{self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"


def _database(parts: ServerUrl) -> str:
    try:
        name = unquote(parts.path.removeprefix("/"), errors="strict")
    except UnicodeDecodeError:  # it carries the text
        raise ValueError("has percent-encoded bytes that are not UTF-8") from None
    if "/" in name or "\0" in name or len(name) > _LONGEST_DATABASE:
        raise ValueError("must name one database of at most 64 characters after the host")
    return name or DEFAULT_DATABASE


def _options(query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if not options.keys() <= set(_OPTIONS):  # not shown: it may be part of an unquoted password
        raise ValueError(f"has an unknown option; known are {', '.join(_OPTIONS)}")
    if len(options) != len(pairs):
        raise ValueError("gives an option twice")
    empty = sorted(name for name, value in options.items() if not value)
    if empty:
        raise ValueError(f"gives no value for {', '.join(empty)}")
    return options


def _boolean(options: dict[str, str], name: str) -> bool | None:
    if name not in options:
        return None
    try:
        return _BOOLEANS[options[name].lower()]
    except KeyError:
        raise ValueError(f"{name} must be true or false") from None
