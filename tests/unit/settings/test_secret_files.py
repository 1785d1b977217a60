"""URLs and passwords in files: put together, checked at the start, and read anew afterwards."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from pika import PlainCredentials

from idalloc_client.amqp import connection_parameters, text_of
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._private_files import exposed
from idalloc_worker.settings._settings import Settings, load_settings

SECRET = "s3cret"


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return str(path)


def problem_of(**environ: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings(None, {}, environ)
    assert SECRET not in repr(raised.value)
    return raised.value.problems[0]


def test_a_file_is_read_whenever_it_is_asked_for(tmp_path: Path) -> None:
    """URL and password, each by itself, also in another process that was given the settings."""
    url = written(tmp_path, "url", "amqp://one@mq/ids\n")
    password = written(tmp_path, "password", f"{SECRET}@/:?\r\n")
    environ = {"IDALLOC_AMQP_URL_FILE": url, "IDALLOC_AMQP_PASSWORD_FILE": password}
    settings = pickle.loads(pickle.dumps(load_settings(None, {}, environ)))
    assert text_of(settings.broker_url()) == "amqp://one:s3cret%40%2F%3A%3F@mq/ids"
    written(tmp_path, "url", "amqp://two@mq/ids")
    written(tmp_path, "password", "new")
    assert text_of(settings.broker_url()) == "amqp://two:new@mq/ids"


def test_the_database_has_the_same(tmp_path: Path) -> None:
    """The user of now, with the password of now; the hosts are those of the start."""
    url = written(tmp_path, "url", f"mariadb://one:{SECRET}@db1,db2/ids\n")
    address = load_settings(None, {}, {"IDALLOC_MYSQL_URL_FILE": url}).require_mysql()
    written(tmp_path, "url", "mariadb://two:new@db1,db2/ids\n")
    again = [each.renewed() for each in address.each()]
    assert [(each.user, each.password, each.host) for each in again] == [
        ("two", "new", "db1"),
        ("two", "new", "db2"),
    ]


@pytest.mark.parametrize("server", ["amqp", "mysql"])
def test_a_password_apart_from_its_url(server: str) -> None:
    """It needs no quoting there."""
    environ = {
        f"IDALLOC_{server.upper()}_URL": f"{server}://me@host/x",
        f"IDALLOC_{server.upper()}_PASSWORD": "p@ss/w?rd",
    }
    settings = load_settings(None, {}, environ)
    if server == "amqp":
        [broker] = connection_parameters(settings.broker_url(), "")
        assert broker.credentials == PlainCredentials("me", "p@ss/w?rd")
    else:
        assert settings.require_mysql().password == "p@ss/w?rd"
    assert "p@ss" not in repr(settings)


@pytest.mark.parametrize("server", ["amqp", "mysql"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"URL": "{s}://me:s3cret@h", "URL_FILE": "/f"}, "URL_FILE: cannot stand beside IDALLOC_"),
        ({"URL": "{s}://me@h", "PASSWORD": "s3cret", "PASSWORD_FILE": "/f"}, "set one of them"),
        ({"URL": "{s}://me:s3cret@h", "PASSWORD": "s3cret"}, "another one is given beside it"),
        ({"URL": "{s}://h", "PASSWORD": "s3cret"}, "names no user"),
        ({"URL_FILE": "/no/such"}, "No such file"),
        ({"URL": "{s}://me@h", "PASSWORD_FILE": "/no/such"}, "No such file"),
        ({"URL_FILE": "/dev/null"}, "the file is empty"),
        ({"URL_FILE": "{s}://me:s3cret@h"}, "must name a file"),
        ({"URL_FILE": __file__}, "spaces or control"),
    ],
)
def test_what_cannot_be_is_told_at_the_start(
    server: str, given: dict[str, str], words: str
) -> None:
    """By the names that the user gave; no secret is in it."""
    environ = {
        f"IDALLOC_{server.upper()}_{name}": value.format(s=server) for name, value in given.items()
    }
    problem = problem_of(**environ)
    assert words in problem
    assert problem.startswith(f"IDALLOC_{server.upper()}_")


def test_a_user_without_a_password_is_told() -> None:
    """It is missing in the URL and beside it."""
    assert "names a user and no password" in problem_of(IDALLOC_AMQP_URL="amqp://me@mq/")


def test_a_secret_that_is_mounted_gets_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Container runtimes have them readable by all, and read-only: nobody could change it."""
    path = Path(written(tmp_path, "secret", SECRET))
    assert not exposed(path)
    path.chmod(0o444)
    assert "chmod 600" in exposed(path)
    mounted = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr("os.statvfs", lambda _: mounted)
    assert not exposed(path)


def test_settings_show_no_password() -> None:
    settings = Settings.model_validate({"amqp_password": SECRET, "mysql_password": SECRET})
    assert SECRET not in f"{settings} {settings!r}"
