"""Settings come from four places, are checked together, and keep their secrets."""

import json
import pickle
from pathlib import Path

import pydantic
import pytest

from idalloc_worker.mysql._url import MySqlAddress
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._settings import Settings, load_settings

MYSQL_URL = "mysql://me:s3cret@db/ids"
AMQP_FORM = "amqp://user:password@host:port/vhost"
SECONDS = "must be a number of seconds, more than 0 and at most 3600"
NOTHING: dict[str, str] = {}


def problems_of(
    config_file: Path | None = None,
    overrides: dict[str, object] | None = None,
    environ: dict[str, str] | None = None,
) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load_settings(config_file, overrides or {}, environ or {})
    return raised.value.problems


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_defaults_need_nothing() -> None:
    """With no file, no variable and no option every setting has its documented default."""
    settings = load_settings(None, {}, NOTHING)
    assert settings.amqp_url.get_secret_value() == "amqp://guest:guest@127.0.0.1:5672/"
    assert settings.model_dump(exclude={"amqp_url"}) == {
        "amqp_url_file": None,
        "amqp_password": None,
        "amqp_password_file": None,
        "request_exchange": "",
        "mysql_url": None,
        "mysql_url_file": None,
        "mysql_password": None,
        "mysql_password_file": None,
        "table": "segments",
        "processes": 1,
        "prefetch": 2000,
        "max_count": 1_000_000,
        "max_waiters": 1500,
        "wait_timeout": 2.0,
        "refill_timeout": 2.0,
        "refill_threads": 4,
        "drain_timeout": 10.0,
        "metrics_port": 0,
        "metrics_host": "127.0.0.1",
        "metrics_tls_cert": None,
        "metrics_tls_key": None,
        "metrics_tls_client_ca": None,
        "metrics_token_file": None,
        "probe_file": None,
        "marks_max_age": 0,
        "operators": (),
        "fleet_users": (),
        "log_level": "info",
        "log_format": "text",
    }


def test_the_nearer_source_wins(tmp_path: Path) -> None:
    """Command line over environment over file over default, setting by setting."""
    config = written(tmp_path, "c.toml", "processes = 2\nprefetch = 2000\nmax_count = 2\n")
    environ = {"IDALLOC_PREFETCH": "3000", "IDALLOC_MAX_COUNT": "3"}
    settings = load_settings(config, {"max_count": 4, "processes": None}, environ)
    assert (settings.processes, settings.prefetch, settings.max_count) == (2, 3000, 4)
    assert settings.max_waiters == 1500


@pytest.mark.parametrize(
    ("text", "environ"),
    [('operators = ["carol", "dave"]', {}), ("", {"IDALLOC_OPERATORS": " carol, dave ,"})],
)
def test_operators_are_a_list_or_names_with_commas(
    tmp_path: Path, text: str, environ: dict[str, str]
) -> None:
    config = written(tmp_path, "c.toml", text)
    assert load_settings(config, {}, environ).operators == ("carol", "dave")


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.toml", 'table = "t"\nwait_timeout = 1'), ("c.JSON", '{"table": "t", "wait_timeout": 1}')],
)
def test_a_file_is_toml_or_json(tmp_path: Path, name: str, text: str) -> None:
    """The suffix tells the format, in either case."""
    settings = load_settings(written(tmp_path, name, text), {}, NOTHING)
    assert (settings.table, settings.wait_timeout) == ("t", 1.0)


def test_the_environment_is_read_when_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment given it is that of the process at that moment."""
    monkeypatch.setenv("IDALLOC_TABLE", "later")
    assert load_settings(None, {}).table == "later"
    assert Settings().table == "segments"


def test_an_empty_variable_is_not_set() -> None:
    """`IDALLOC_TABLE=` as compose files pass it on means the default."""
    assert load_settings(None, {}, {"IDALLOC_TABLE": ""}).table == "segments"


def test_other_variables_are_not_ours() -> None:
    """An unknown IDALLOC_ variable is no error: the tests have some."""
    load_settings(None, {}, {"IDALLOC_TEST_MYSQL_URL": "x"})


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    """One run tells everything that is wrong, each under the name that the user gave it."""
    config = written(tmp_path, "c.toml", 'prefech = 1\nlog_level = "loud"\nmax_waiters = 0\n')
    problems = problems_of(
        config,
        {"processes": 500},
        {
            "IDALLOC_MYSQL_URL": "mysql://me:s3cret@/ids",
            "IDALLOC_AMQP_URL": "http://me:s3cret@mq",
            "IDALLOC_WAIT_TIMEOUT": "soon",
            "IDALLOC_TABLE": "a b",
        },
    )
    assert set(problems) == {
        f"prefech in {config}: is not a setting; did you mean prefetch?",
        f"log_level in {config}: must be one of debug, info, warning, error, not 'loud'",
        f"max_waiters in {config}: must be a whole number from 1 to 1000000, not 0",
        "--processes: must be a whole number from 1 to 256, not 500",
        "IDALLOC_MYSQL_URL: names no host (expected: mysql://user:password@host:port[,host:port]/database)",
        f"IDALLOC_AMQP_URL: must begin with amqp:// or amqps:// (expected: {AMQP_FORM})",
        f"IDALLOC_WAIT_TIMEOUT: {SECONDS}, not 'soon'",
        "IDALLOC_TABLE: must be 1 to 64 letters (A-Z, a-z), digits, _ or $, not 'a b'",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processes", "0"),
        ("processes", "257"),
        ("processes", "1.5"),
        ("prefetch", "65536"),
        ("prefetch", "-1"),
        ("max_count", "1000000001"),
        ("max_waiters", "0"),
        ("refill_threads", "65"),
        ("wait_timeout", "0"),
        ("wait_timeout", "nan"),
        ("refill_timeout", "inf"),
        ("drain_timeout", "-1"),
        ("log_format", "xml"),
        ("table", "segments; DROP"),
        ("table", "ids.segments"),
        ("table", "segments\n"),
        ("table", "t" * 65),
        ("amqp_url", "amqp://"),
        ("amqp_url", "amqp://mq:70000"),
        ("mysql_url", "mysql://db"),
        ("fleet_users", "worker,,other"),
        ("fleet_users", "w" * 256),
    ],
)
def test_a_value_out_of_bounds_is_refused(name: str, value: str) -> None:
    """Every setting has its limits, and the message names the variable."""
    variable = f"IDALLOC_{name.upper()}"
    [problem] = problems_of(environ={variable: value})
    assert problem.startswith(f"{variable}: ")


def test_names_have_commas_between_them(tmp_path: Path) -> None:
    """In a file they may be a list."""
    variables = {"IDALLOC_FLEET_USERS": "worker-a, worker-b"}
    config = written(tmp_path, "c.toml", 'fleet_users = ["worker-a", "worker-b"]\n')
    for settings in (load_settings(None, {}, variables), load_settings(config, {}, NOTHING)):
        assert settings.fleet_users == ("worker-a", "worker-b")


@pytest.mark.parametrize("value", [True, "two", [2], {"n": 2}, 1.5])
def test_a_wrong_type_in_a_file_is_refused(tmp_path: Path, value: object) -> None:
    """A number must be one: not a truth value, a list or a table."""
    config = written(tmp_path, "c.json", json.dumps({"processes": value}))
    assert len(problems_of(config)) == 1


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("c.yaml", "", ".toml or .json"),
        ("c", "", ".toml or .json"),
        ("c.toml", "a = = 1", "line 1"),
        ("c.json", "{", "line 1"),
        ("c.json", "[1]", "one object"),
    ],
)
def test_an_unreadable_file_is_told(tmp_path: Path, name: str, text: str, problem: str) -> None:
    """A file of another kind, or with a slip in it, is named with what is wrong."""
    config = written(tmp_path, name, text)
    [told] = problems_of(config)
    assert told.startswith(f"{config}: ")
    assert problem in told


def test_a_missing_file_is_told_with_the_other_problems(tmp_path: Path) -> None:
    """A file that is not there does not hide what else is wrong."""
    problems = problems_of(tmp_path / "no.toml", environ={"IDALLOC_PROCESSES": "x"})
    assert len(problems) == 2
    assert "No such file" in problems[0]


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are an error of the file."""
    config = tmp_path / "c.toml"
    config.write_bytes(b"\xff\xfe")
    assert problems_of(config) == (f"{config}: is not UTF-8 text",)


def test_passwords_are_in_no_message(tmp_path: Path) -> None:
    """URLs that are wrong in every way leave no trace of the password."""
    config = written(tmp_path, "c.json", json.dumps({"amqp_url": ["s3cret"], "mysql_url": 5}))
    for bad in ("s3cret", "mysql://u:s3cret@h:x", "mysql://u:s3cret@[", "mysql://u@h/?s3=s3cret"):
        told = problems_of(config, environ={"IDALLOC_MYSQL_URL": bad, "IDALLOC_AMQP_URL": bad})
        assert "s3cret" not in repr(told)
    assert "s3cret" not in repr(problems_of(config))


def test_passwords_are_in_no_repr() -> None:
    """Settings can be logged; so can a failed validation."""
    settings = load_settings(None, {}, {"IDALLOC_MYSQL_URL": MYSQL_URL})
    assert "s3cret" not in f"{settings} {settings!r}"
    with pytest.raises(pydantic.ValidationError) as raised:
        Settings.model_validate({"mysql_url": "s3cret"})
    assert "s3cret" not in str(raised.value)


def test_an_error_holds_no_failed_validation() -> None:
    """The chain of causes would show the input in a traceback."""
    with pytest.raises(SettingsError) as raised:
        load_settings(None, {}, {"IDALLOC_MYSQL_URL": "mysql://me:s3cret@"})
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)


def test_settings_travel_to_another_process() -> None:
    """Pickled settings are equal to what they were, secrets included; so are errors."""
    settings = load_settings(None, {"processes": 3}, {"IDALLOC_MYSQL_URL": MYSQL_URL})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert pickle.loads(pickle.dumps(SettingsError(("a", "b")))).problems == ("a", "b")


def test_settings_cannot_be_changed() -> None:
    """They are frozen."""
    with pytest.raises(pydantic.ValidationError):
        Settings().processes = 2  # type: ignore[misc]


def test_the_database_is_asked_for_where_it_is_needed() -> None:
    """Only a command that needs the database insists on its URL, by the name of the variable."""
    with pytest.raises(SettingsError, match="IDALLOC_MYSQL_URL"):
        load_settings(None, {}, NOTHING).require_mysql()
    settings = load_settings(None, {}, {"IDALLOC_MYSQL_URL": MYSQL_URL})
    assert settings.require_mysql() == MySqlAddress("me", "s3cret", "db", database="ids")


@pytest.mark.parametrize(
    ("environ", "origin"),
    [
        ({"IDALLOC_PREFETCH": "1500"}, "IDALLOC_PREFETCH"),
        ({"IDALLOC_PREFETCH": "100", "IDALLOC_MAX_WAITERS": "100"}, "IDALLOC_MAX_WAITERS"),
        ({"IDALLOC_MAX_WAITERS": "2000"}, "IDALLOC_MAX_WAITERS"),
    ],
)
def test_waiters_of_one_tag_leave_room_for_others(environ: dict[str, str], origin: str) -> None:
    """Where as many may wait as are taken, a tag that is out of ids stops all others."""
    (problem,) = problems_of(environ=environ)
    assert problem.startswith(f"{origin}: prefetch (")
    assert "must be above max_waiters" in problem
    load_settings(None, {}, {"IDALLOC_PREFETCH": "101", "IDALLOC_MAX_WAITERS": "100"})
