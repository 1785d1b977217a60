"""Where the database is and how to log in there, from a `mysql://` URL."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self
from urllib.parse import parse_qsl

from idalloc_client.amqp import (
    LastGood,
    ServerUrl,
    UrlSource,
    decoded,
    login_apart,
    split_server_urls,
    text_of,
    unknown_options,
)

DEFAULT_DATABASE: Final = "id_alloc_db"
DEFAULT_PORT: Final = 3306
_LONGEST_DATABASE: Final = 64
SCHEMES: Final = ("mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql")
"""The same to us; the other three are SQLAlchemy's."""
_OPTIONS: Final = frozenset(
    {
        "server_public_key",
        "ssl",
        "ssl_ca",
        "ssl_cert",
        "ssl_key",
        "ssl_verify_identity",
        "unix_socket",
    }
)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_SSL: Final = {**_BOOLEANS, "disabled": False, "preferred": None}


@dataclass(frozen=True, slots=True)
class MySqlAddress:
    """A database, the login for it, and the host or hosts where it may be.

    `further_hosts` are for where `host` does not serve; `each` takes them apart. `ssl` None means
    TLS where the server offers it, with any certificate; False never. With True, `ssl_ca` or
    `ssl_verify_identity` it must, and its certificate is checked. `ssl_cert` and `ssl_key` are the
    files of a certificate of ours. `server_public_key` is the file of the key for logins without
    TLS. Its repr hides the password.
    """

    user: str
    password: str = field(default="", repr=False)
    host: str = "localhost"
    port: int = DEFAULT_PORT
    database: str = DEFAULT_DATABASE
    further_hosts: tuple[tuple[str, int], ...] = ()
    unix_socket: str | None = None
    ssl: bool | None = None
    ssl_ca: str | None = None
    ssl_verify_identity: bool | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    server_public_key: str | None = None
    login: LastGood[tuple[str, str]] | None = field(default=None, repr=False, compare=False)
    """Reads user and password anew."""

    @classmethod
    def parse(cls, source: UrlSource) -> Self:
        """Read `mysql://user:password@host:port/database?ssl_ca=/path&unix_socket=/path`.

        Several hosts stand between commas: `host1:port,host2:port`; the rest holds for all. Where
        the URL comes from a file, `renewed` reads user and password again.

        Raises ValueError, whose message shows nothing of the URL but names of options.
        """
        url = text_of(source)
        address = cls._parsed(url)
        if source is url:
            return address
        first = address.user, address.password
        login = LastGood(lambda: _login(source, url), first, "The MySQL URL")
        return replace(address, login=login)

    def renewed(self) -> Self:
        """Give the address with the user and password of now."""
        if self.login is None:
            return self
        user, password = self.login.again()
        return replace(self, user=user, password=password)

    @classmethod
    def _parsed(cls, url: str) -> Self:
        listed = split_server_urls(url, SCHEMES)
        parts = listed[0]
        options = _options(url, parts.query)
        unix_socket = options.get("unix_socket")
        hosts = _hosts(listed, unix_socket)
        if not parts.host and not unix_socket:
            raise ValueError("names no host")
        if not parts.user:
            raise ValueError("names no user")
        ssl = _choice(options, "ssl", _SSL, "true, false, disabled or preferred")
        verify = _choice(options, "ssl_verify_identity", _BOOLEANS, "true or false")
        _check_trust(options, ssl=ssl, verify=verify)
        return cls(
            user=parts.user,
            password=parts.password,
            host=hosts[0][0],
            port=hosts[0][1],
            database=_database(parts),
            further_hosts=hosts[1:],
            unix_socket=unix_socket,
            ssl=ssl,
            ssl_ca=options.get("ssl_ca"),
            ssl_verify_identity=verify,
            ssl_cert=options.get("ssl_cert"),
            ssl_key=options.get("ssl_key"),
            server_public_key=options.get("server_public_key"),
        )

    @property
    def verifies_certificate(self) -> bool:
        """Whether the server has to show a certificate that a known authority signed."""
        return bool(self.ssl or self.ssl_verify_identity) or self.ssl_ca is not None

    @property
    def verifies_identity(self) -> bool:
        """Whether that certificate has to name the host; `ssl_verify_identity=false` waives it."""
        return self.verifies_certificate and self.ssl_verify_identity is not False

    def each(self) -> tuple[Self, ...]:
        """Give one address for each host, in their order."""
        hosts = ((self.host, self.port), *self.further_hosts)
        return tuple(replace(self, host=host, port=port, further_hosts=()) for host, port in hosts)

    def __str__(self) -> str:
        """Name the server, or servers, for a log line, without the login."""
        if self.unix_socket:
            return f"{self.unix_socket}/{self.database}"
        hosts = ((self.host, self.port), *self.further_hosts)
        return f"{','.join(_host_port(*each) for each in hosts)}/{self.database}"


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _hosts(listed: list[ServerUrl], unix_socket: str | None) -> tuple[tuple[str, int], ...]:
    hosts = tuple((parts.host or "localhost", parts.port or DEFAULT_PORT) for parts in listed)
    if unix_socket and len(hosts) > 1:
        raise ValueError("names several hosts and a unix_socket, which is one server; drop either")
    if len(set(hosts)) < len(hosts):
        raise ValueError("names the same host and port twice; name each server once")
    return hosts


def _database(parts: ServerUrl) -> str:
    if "," in parts.path:
        raise ValueError(
            "has a comma after the hosts; write all hosts first, then one database: "
            "host1:port,host2:port/database (a comma in a name is written %2C)"
        )
    name = decoded(parts.path.removeprefix("/"))
    if "/" in name or "\0" in name or len(name) > _LONGEST_DATABASE:
        raise ValueError("must name one database of at most 64 characters after the host")
    return name or DEFAULT_DATABASE


def _login(source: UrlSource, first: str) -> tuple[str, str]:
    """Read the user and password that a URL has now. Raises ValueError, also for another URL."""
    url = text_of(source)
    if login_apart(url)[1] != login_apart(first)[1]:
        raise ValueError("names other hosts or options than at the start: restart to use them")
    parts = split_server_urls(url, SCHEMES)[0]
    if not parts.user:
        raise ValueError("names no user")
    return parts.user, parts.password


def _options(url: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if unknown := options.keys() - _OPTIONS:
        raise ValueError(unknown_options(url, unknown, _OPTIONS))
    if len(options) != len(pairs):
        raise ValueError("gives an option twice")
    empty = sorted(name for name, value in options.items() if not value)
    if empty:
        raise ValueError(f"gives no value for {', '.join(empty)}")
    return options


def _choice(
    options: dict[str, str], name: str, values: Mapping[str, bool | None], known: str
) -> bool | None:
    if name not in options:
        return None
    if options[name].lower() not in values:
        raise ValueError(f"{name} must be {known}")
    return values[options[name].lower()]


def _check_trust(options: dict[str, str], *, ssl: bool | None, verify: bool | None) -> None:
    """Refuse what contradicts itself, or would check less than it seems to."""
    if ssl is False and (verify or "ssl_ca" in options):
        raise ValueError("asks for ssl=false and for a certificate check at once")
    if "ssl_key" in options and "ssl_cert" not in options:
        raise ValueError("has an ssl_key and no ssl_cert, which it belongs to")
    if "ssl_cert" in options and not (ssl or verify or "ssl_ca" in options):
        raise ValueError("has an ssl_cert, which goes to a server that is verified; add ssl_ca")
    if ssl and verify is False and "ssl_ca" not in options:
        raise ValueError(
            "waives the host's name without ssl_ca, so that anybody's certificate would do; name "
            "the server's own authority with ssl_ca"
        )
    if ssl is not False and "server_public_key" in options:
        raise ValueError(
            "has a server_public_key, which serves connections without TLS; add ssl=disabled, or "
            "give ssl_ca in its place"
        )
