"""A password is not told, wherever a user has put the URL that holds it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idalloc_worker.cli._main import run
from idalloc_worker.settings._errors import SettingsError
from idalloc_worker.settings._redaction import redacted
from idalloc_worker.settings._settings import Settings, load_settings

SECRET = "hunter2"
URLS = (
    f"amqp://user:{SECRET}@host/vhost",
    f"mysql://user:{SECRET}@host/database",
    f"mysql://a-user-with-a-name-that-is-long-enough-to-be-cut:{SECRET}@host/database",
    f"amqp://user:{SECRET}",
    f"amqp://user:it's {SECRET}@host",
    f"amqp://user:p@{SECRET}@host",
)
NAMES = [*Settings.model_fields, "amqp", "mysql", "amqpurl", "tables"]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out."""
    for name in [name for name in os.environ if name.startswith("IDALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IDALLOC_AMQP_URL", "amqp://127.0.0.1:1")


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("name", NAMES)
def test_no_setting_shows_a_url_that_is_not_its_own(name: str, url: str, tmp_path: Path) -> None:
    """In the environment, in a file, as a value or as a key, and as a part of another value."""
    file = tmp_path / "settings.json"
    for content in ({name: url}, {url: 1}, {name: [url]}, {name: {"url": url}}):
        file.write_text(json.dumps(content), "utf-8")
        assert SECRET not in told(file, {})
    assert SECRET not in told(None, {f"IDALLOC_{name.upper()}": url})


def told(file: Path | None, environ: dict[str, str]) -> str:
    try:
        return repr(load_settings(file, {}, environ))
    except SettingsError as error:
        return f"{error} {error!r} {error.problems}"


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["{url}"],
        ["next", "{url}", "--timeout", "0.01"],
        ["next", "order", "{url}"],
        ["next", "order", "-n", "{url}"],
        ["next", "order", "--timeout={url}"],
        ["worker", "--amqp-url", "{url}"],
        ["worker", "--{url}"],
        ["worker", "--processes", "{url}"],
        ["worker", "--log-level", "{url}"],
        ["tags", "list", "--config", "{url}"],
        ["tags", "list", "--config", "{url}.toml"],
        ["tags", "add", "order", "--step", "{url}"],
        ["tags", "set", "order", "--ceiling", "{url}"],
        ["broker-setup", "--apply", "{url}"],
        ["broker-setup", "--callers", "{url}"],
        ["broker-setup", "--apply", "http://admin:hunter2@127.0.0.1:1"],
        ["broker-setup", "--apply", "http://admin@127.0.0.1:1", "--password-file", "{url}"],
    ],
    ids=" ".join,
)
def test_no_command_shows_a_url_that_it_cannot_use(
    arguments: list[str], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it stands on the command line."""
    assert run([word.format(url=url) for word in arguments]) in {1, 2}
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    assert err.startswith("idalloc: ")


@pytest.mark.parametrize(
    "text",
    [
        "the management API at http://host:15672 cannot be used: refused",
        "expected: mysql://user:password@host:port[,host:port]/database",
        "must look like http://user@host:15672",
        "the database at db1:3306/id_alloc_db refused the login",
        "see https://[::1]:15672/api/overview",
    ],
)
def test_what_holds_no_password_is_shown(text: str) -> None:
    """A message stays of use."""
    assert redacted(text) == text


@pytest.mark.parametrize("text", ["a" * 100_000, "a+" * 50_000, "a:/" * 50_000])
def test_a_long_text_is_read_in_one_go(text: str) -> None:
    """What somebody sends or pastes holds nothing up, and a URL behind it is still seen."""
    assert SECRET not in redacted(f"{text} amqp://me:{SECRET}@host")


@given(st.text(min_size=1).filter(lambda text: "user" not in text), st.text())
def test_what_stands_before_the_host_is_never_shown(password: str, before: str) -> None:
    """Whatever characters it is made of."""
    text = redacted(f"{before}amqp://me:<<{password}>>@host is wrong")
    assert ">>" not in text.replace(before, "")


@pytest.mark.parametrize(
    ("mode", "content", "warns"),
    [
        (0o644, f'amqp_url = "{URLS[0]}"', True),
        (0o602, f'mysql_url = "{URLS[1]}"', True),
        (0o640, f'amqp_url = "{URLS[0]}"', False),
        (0o600, f'amqp_url = "{URLS[0]}"', False),
        (0o644, 'amqp_url = "amqp://host/"', False),
        (0o644, "processes = 2", False),
    ],
)
def test_a_file_with_a_password_that_others_may_read_gets_a_warning(
    mode: int, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, warns: bool
) -> None:
    """It says what to do, and nothing of what is in the file."""
    file = tmp_path / "idalloc settings.toml"
    file.write_text(content, "utf-8")
    file.chmod(mode)
    assert run(["health", "--timeout", "0.01", "--config", str(file)]) == 1
    err = capsys.readouterr().err
    assert (f"chmod 600 '{file}'" in err) is warns
    assert SECRET not in err
