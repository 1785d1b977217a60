"""The worker's settings: what there is to set, what is allowed, and where values come from."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from idalloc_client.amqp import UrlSource, checked_exchange
from idalloc_worker.mysql import MySqlAddress, check_table_name
from idalloc_worker.settings._caller import (
    DEFAULT_AMQP_URL,
    PREFIX,
    checked_amqp_url,
    checked_user,
    names_in,
)
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._redaction import HIDDEN, may_hold_password, shown
from idalloc_worker.settings._secret_files import given_twice, unusable, url_of
from idalloc_worker.settings._service_links import is_service_link

LONGEST_SECONDS: Final = 3600
_LONGEST_SHOWN: Final = 40
_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {".toml": tomllib.loads, ".json": json.loads}
_URL_FORMS: Final[Mapping[str, str]] = {
    "amqp_url": "amqp://user:password@host:port/vhost",
    "mysql_url": "mysql://user:password@host:port[,host:port]/database",
}
"""The settings that hold a URL with a password, which no message repeats."""
_PASSWORDS: Final = frozenset({"amqp_password", "mysql_password"})


def _amqp_url(secret: SecretStr) -> SecretStr:
    checked_amqp_url(secret.get_secret_value())
    return secret


def _mysql_url(secret: SecretStr) -> SecretStr:
    MySqlAddress.parse(secret.get_secret_value())
    return secret


def _host(name: str) -> str:
    if any(char in "/@" or char.isspace() for char in name):
        raise ValueError("must be the name or address of a host")
    return name


def _file(path: Path) -> Path:
    if may_hold_password(str(path)):
        raise ValueError(f"must name a file, not {HIDDEN}")
    return path


def _no_boolean(value: object) -> object:
    """Refuse what Python takes for a number: `processes = true` would be one process."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports only ValueError
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _names(value: object) -> object:
    """Take a list as a file may have it, or names with commas between them."""
    return names_in(value) if isinstance(value, str) else value


File = Annotated[Path, AfterValidator(_file)]
UserName = Annotated[str, AfterValidator(checked_user)]
Seconds = Annotated[
    float, BeforeValidator(_no_boolean), Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)
]
WholeNumber = Annotated[int, BeforeValidator(_no_boolean)]


class Settings(BaseModel):
    """What a worker and the command line run on; built by `load_settings`.

    Frozen, and picklable, because a worker hands it to the processes that it starts. Times are in
    seconds. Its repr hides both URLs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    amqp_url: Annotated[SecretStr, AfterValidator(_amqp_url)] = Field(
        default=SecretStr(DEFAULT_AMQP_URL),
        description="where the broker is; amqps:// for TLS",
    )
    amqp_url_file: File | None = Field(
        default=None, description="a file with that URL, read again at each connect"
    )
    amqp_password: SecretStr | None = Field(
        default=None, description="the password, where the URL has none"
    )
    amqp_password_file: File | None = Field(
        default=None, description="a file with the password, read again at each connect"
    )
    request_exchange: Annotated[str, AfterValidator(checked_exchange)] = Field(
        default="",
        description="where next, health and top send requests; by default the default exchange; "
        "id.requests for a user who may write only there",
    )
    mysql_url: Annotated[SecretStr, AfterValidator(_mysql_url)] | None = Field(
        default=None, description="where the database is; several hosts with commas between them"
    )
    mysql_url_file: File | None = Field(
        default=None, description="a file with that URL, read again at each connect"
    )
    mysql_password: SecretStr | None = Field(
        default=None, description="the password, where the URL has none"
    )
    mysql_password_file: File | None = Field(
        default=None, description="a file with the password, read again at each connect"
    )
    table: Annotated[str, AfterValidator(check_table_name)] = Field(
        default="segments", description="the table that holds the tags"
    )
    processes: Annotated[WholeNumber, Field(ge=1, le=256)] = Field(
        default=1, description="processes that one worker runs"
    )
    prefetch: Annotated[WholeNumber, Field(ge=1, le=65535)] = Field(
        default=2000, description="requests that each process takes from the broker at a time"
    )
    max_count: Annotated[WholeNumber, Field(ge=1, le=10**9)] = Field(
        default=1_000_000, description="ids that one request may ask for"
    )
    max_waiters: Annotated[WholeNumber, Field(ge=1, le=10**6)] = Field(
        default=1500, description="requests of one tag that may wait; the next one is refused"
    )
    wait_timeout: Seconds = Field(
        default=2.0, description="how long a request without a deadline of its own waits"
    )
    refill_timeout: Seconds = Field(
        default=2.0, description="how long reserving a segment may take"
    )
    refill_threads: Annotated[WholeNumber, Field(ge=1, le=64)] = Field(
        default=4, description="threads, and database connections, of each process"
    )
    drain_timeout: Seconds = Field(
        default=10.0, description="how long a stopping worker may take to finish its work"
    )
    metrics_port: Annotated[WholeNumber, Field(ge=0, le=65535)] = Field(
        default=0, description="where Prometheus reads the metrics of a worker; 0: nowhere"
    )
    metrics_host: Annotated[str, Field(min_length=1), AfterValidator(_host)] = Field(
        default="127.0.0.1",
        description="the address of this host at which the metrics are read",
    )
    metrics_tls_cert: File | None = Field(
        default=None, description="the file with the certificate of the metrics' port, for https"
    )
    metrics_tls_key: File | None = Field(
        default=None, description="the file with the key of that certificate"
    )
    metrics_tls_client_ca: File | None = Field(
        default=None,
        description="the file with the authorities whose certificates clients of the metrics' port "
        "must show",
    )
    metrics_token_file: File | None = Field(
        default=None,
        description="the file with the token that Prometheus must send (Authorization: Bearer)",
    )
    probe_file: File | None = Field(
        default=None,
        description="the file in which a worker shows that it runs, for idalloc worker --probe; "
        "put it in memory, such as /run or /dev/shm",
    )
    marks_max_age: Annotated[WholeNumber, Field(ge=0, le=10**9)] = Field(
        default=0,
        description="seconds; if the broker's memory is older than this when a worker starts, it "
        "serves a tag only after its row was raised; 0: off",
    )
    operators: Annotated[tuple[UserName, ...], BeforeValidator(_names)] = Field(
        default=(),
        description="RabbitMQ users, with commas between them, who see everything about health, as "
        "the workers' own user does",
    )
    fleet_users: Annotated[tuple[UserName, ...], BeforeValidator(_names)] = Field(
        default=(),
        description="the RabbitMQ users that this fleet's workers log in with, if there are "
        "several, with commas between them; none: all use the same one",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        Field(default="info", description="the least severe log records that are written")
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        default="text", description="how log records are written"
    )

    def broker_url(self) -> UrlSource:
        """Say where the broker is: a URL, or what reads it from its files."""
        url = url_of(self, "amqp")
        assert url is not None  # noqa: S101  # it has a default
        return url

    def require_mysql(self) -> MySqlAddress:
        """Say where the database is. Raises SettingsError if that is not configured."""
        url = url_of(self, "mysql")
        if url is None:
            where = f"{PREFIX}MYSQL_URL or {PREFIX}MYSQL_URL_FILE, or mysql_url in the file named"
            form = _URL_FORMS["mysql_url"]
            problem = f"{where} with --config: must be set for this (expected: {form})"
            raise SettingsError((problem,))
        return MySqlAddress.parse(url)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value, and where it comes from in the user's words."""

    value: object
    origin: str


def load_settings(
    config_file: Path | None,
    overrides: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Build the settings.

    An override (of the command line; None means not given) wins over the environment, that over
    the file, and that over the default. An empty environment variable counts as not set.

    Raises SettingsError with every problem there is, each under the name that the user gave it.
    """
    problems: list[str] = []
    values = _from_file(config_file, problems) if config_file else {}
    values |= _from_environment(os.environ if environ is None else environ)
    values |= _from_command_line(overrides)
    settings = _validated(values, problems)
    origins = {name: given.origin for name, given in values.items()}
    problems += given_twice(origins)
    if settings is not None:
        problems += [*unusable(settings, origins), *_conflicts(settings, values)]
    if settings is None or problems:
        raise SettingsError(tuple(problems))
    return settings


def _from_command_line(overrides: Mapping[str, object]) -> dict[str, _Value]:
    return {
        name: _Value(value, f"--{name.replace('_', '-')}")
        for name, value in overrides.items()
        if value is not None
    }


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Value]:
    variables = {name: PREFIX + name.upper() for name in Settings.model_fields}
    return {
        name: _Value(environ[variable], variable)
        for name, variable in variables.items()
        if environ.get(variable) and not is_service_link(environ[variable])
    }


def _from_file(path: Path, problems: list[str]) -> dict[str, _Value]:
    try:
        content = _parse(path)
    except (OSError, ValueError) as error:
        problems.append(_file_problem(path, error))
        return {}
    for key in content.keys() - Settings.model_fields.keys():
        close = get_close_matches(key, Settings.model_fields, n=1)
        hint = (
            f"did you mean {close[0]}?" if close else f"known: {', '.join(Settings.model_fields)}"
        )
        name = HIDDEN if may_hold_password(key) else key
        problems.append(f"{name} in {path}: is not a setting; {hint}")
    return {
        name: _Value(value, f"{name} in {path}")
        for name, value in content.items()
        if name in Settings.model_fields
    }


def _parse(path: Path) -> dict[str, Any]:
    parser = _PARSERS.get(path.suffix.lower())
    if parser is None:
        raise ValueError("its name must end in .toml or .json")
    try:
        content = parser(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it must hold one object, with a key for each setting")  # noqa: TRY004
    return content


def _file_problem(path: Path, error: OSError | ValueError) -> str:
    if may_hold_password(str(path)):
        return f"--config: must name a file, not {HIDDEN}"
    if isinstance(error, OSError):
        return f"{path}: cannot be read: {error.strerror or error}"
    if isinstance(error, UnicodeDecodeError):
        return f"{path}: is not UTF-8 text"
    return f"{path}: {error}"


def _validated(values: Mapping[str, _Value], problems: list[str]) -> Settings | None:
    try:
        return Settings.model_validate({name: given.value for name, given in values.items()})
    except ValidationError as failure:
        details = failure.errors(include_url=False, include_input=False)
    for detail in details:
        name = str(detail["loc"][0])
        problems.append(_problem(name, values[name], detail["msg"]))
    return None


def _conflicts(settings: Settings, values: Mapping[str, _Value]) -> list[str]:
    """Say which settings contradict each other."""
    found = []
    if settings.prefetch <= settings.max_waiters:
        given = values.get("max_waiters") or values["prefetch"]
        limits = f"prefetch ({settings.prefetch}) must be above max_waiters"
        reason = "or requests that wait for one tag block all others"
        found.append(f"{given.origin}: {limits} ({settings.max_waiters}): {reason}")
    pair = (settings.metrics_tls_cert, settings.metrics_tls_key)
    if any((*pair, settings.metrics_tls_client_ca)) and not all(pair):
        found.append("metrics_tls_cert and metrics_tls_key: for TLS both must be set")
    return found


def _problem(name: str, given: _Value, message: str) -> str:
    if name not in Settings.model_fields:
        return f"{given.origin}: is not a setting"
    what = _allowed(name) or message.removeprefix("Value error, ")
    if name in _URL_FORMS:
        return f"{given.origin}: {what} (expected: {_URL_FORMS[name]})"
    if name in _PASSWORDS:
        return f"{given.origin}: {what}"
    return f"{given.origin}: {what}, not {shown(given.value, _LONGEST_SHOWN)}"


def _allowed(name: str) -> str:
    """Say which values a setting may have; empty where its own error says it better."""
    field = Settings.model_fields[name]
    if get_origin(field.annotation) is Literal:
        return f"must be one of {', '.join(get_args(field.annotation))}"
    low = next((item.ge for item in field.metadata if hasattr(item, "ge")), None)
    high = next((item.le for item in field.metadata if hasattr(item, "le")), None)
    if low is not None:
        return f"must be a whole number from {low} to {high}"
    if high is not None:
        return f"must be a number of seconds, more than 0 and at most {high}"
    return ""
